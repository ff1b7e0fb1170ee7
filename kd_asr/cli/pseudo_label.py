"""The command `kd-asr pseudo-label`: words for audio without transcripts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_asr.cli.parsing import existing_folder, setting_flags, whole_number
from kd_asr.exchange.pseudo_labels import PseudoLabelSettings, pseudo_label, summary
from kd_asr.settings.files import parse_settings_of

_OWN = "kd_asr.exchange.own_system:OwnSystem"


def add_pseudo_label(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "pseudo-label",
        help="write the words that a recogniser hears in audio without transcripts, as a table to train on",
        usage="kd-asr pseudo-label FOLDER ... --out TABLE [option ...] [--KEY VALUE ...]",
        description="Cuts long audio at pauses, has a recogniser write the words, leaves out what it was not sure of "
        "and what a second one hears differently, and writes TABLE for `kd-asr run speech --corpus table --train "
        "TABLE`. What was heard is kept beside it: interrupted, the command goes on from there, and with other filters "
        "it does not listen again.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "folders", nargs="+", type=existing_folder("FOLDER"), metavar="FOLDER", help="audio, any layout"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="TABLE", help="table to write, such as heard.tsv")
    parser.add_argument(
        "--jobs", type=whole_number("--jobs", 0), default=0, metavar="N", help="processes (default: one per core)"
    )
    parser.settings = PseudoLabelSettings


def run_pseudo_label(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    """Write the table, and say what became of the audio."""
    flags = setting_flags(rest, "kd-asr pseudo-label", PseudoLabelSettings, arguments.options)
    settings = parse_settings_of(PseudoLabelSettings, [part for flag in flags for part in _named(flag)])
    print(summary(pseudo_label(arguments.folders, arguments.out, settings, jobs=arguments.jobs), arguments.out))


def _named(flag: str) -> list[str]:
    """The flags for a recogniser that is the folder of a system of ours; others as they are."""
    name, _, value = flag.partition("=")
    if name in ("--recogniser", "--second") and Path(value).is_dir():
        return [f"{name}={_OWN}", f"{name}.{_OWN}.system={Path(value).absolute()}"]
    return [flag]
