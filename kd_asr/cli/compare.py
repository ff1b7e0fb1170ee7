"""The command `kd-asr compare`; parsing and printing only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kd_asr.cli.parsing import Lines


def add_compare(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "compare",
        help="set all systems of one or several finished runs side by side: figures, significance, costs",
        description="One table and one plot of all systems of finished runs, on speech or on digits: frame accuracy, "
        "cross-entropy, calibration error, word error rate, the share of the ensemble's gain, the difference from "
        "Hinton's students over utterances and over seeds, and what training and use cost. Several runs must have been "
        "tested on the same data with the same labels; networks that they share are shown once. Writes "
        "comparison.md, .csv, .json and .png. docs/comparison.md says what each column means.",
        epilog="examples:\n  kd-asr run speech --methods all && kd-asr compare exp/librispeech_quick\n"
        "  kd-asr compare exp/first exp/second --out exp/both --against decoupled",
        formatter_class=Lines,
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: comparison in the first RUN)"
    )
    parser.add_argument(
        "--against",
        metavar="GROUP",
        help="group that the others are compared with, in the first RUN that has it, such as decoupled or mutual-2 "
        "(default: distilled, Hinton's students)",
    )


def run_compare(arguments: argparse.Namespace) -> None:
    """Write the comparison and print its table."""
    from kd_asr.experiments.comparison.compare import compare, print_comparison

    print_comparison(compare(arguments.runs, arguments.out, arguments.against))
