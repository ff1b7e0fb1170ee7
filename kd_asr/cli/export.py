"""The command `kd-asr export`; parsing only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kd_asr.cli.parsing import one_of

FORMATS = ("torch", "onnx", "int8")


def add_export(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "export",
        help="write a trained system as a folder that needs nothing else",
        description="Write a system of a run whose `decode` is done as a folder that needs nothing else: weights, "
        "settings, prior, lexicon, decoding graph, statistics of a usual speaker, and a model card, with checksums of "
        "all. `kd-asr transcribe` and `kd-asr align-files` take it like a folder of a run.",
    )
    parser.add_argument(
        "model",
        type=Path,
        help="folder of a trained system: RUN/distil/student-00, RUN/baseline/baseline-00, RUN/ensemble",
    )
    parser.add_argument("out", type=Path, help="folder to write; one of the same content is kept")
    parser.add_argument(
        "--formats",
        type=_formats,
        default=FORMATS,
        metavar="torch,onnx,int8",
        help="what the weights are written as, for --engine of `transcribe`: safetensors, which always are; ONNX; ONNX "
        "in 8 bits with a scale for each output (default: all three; ONNX needs pip install 'kd-asr[export]')",
    )
    parser.add_argument(
        "--int8",
        type=one_of("--int8", ("static", "dynamic")),
        default="static",
        metavar="static|dynamic",
        help="ranges of the activations in 8 bits: measured on 20 utterances of train (default), or in each batch, "
        "which is a little more accurate and slower",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an export folder of another content")


def run_export(arguments: argparse.Namespace) -> None:
    """Write the folder."""
    from kd_asr.recognition.export import export

    export(
        arguments.model,
        arguments.out,
        formats=arguments.formats,
        int8=arguments.int8,
        overwrite=arguments.overwrite,
    )


def _formats(value: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in value.split(","))
    for part in chosen:
        one_of("--formats", FORMATS)(part)
    return chosen
