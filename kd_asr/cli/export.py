"""The command `kd-asr export`; parsing only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


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
    parser.add_argument("--overwrite", action="store_true", help="replace an export folder of another content")


def run_export(arguments: argparse.Namespace) -> None:
    """Write the folder."""
    from kd_asr.recognition.export import export

    export(arguments.model, arguments.out, overwrite=arguments.overwrite)
