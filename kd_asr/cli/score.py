"""The command `kd-asr score`; parsing and printing only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kd_asr.cli.parsing import one_of

FORMATS = ("auto", "trn", "kaldi", "text", "ctm")


def add_score(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "score",
        help="word or character error rate of a hypothesis file against a reference file",
        description="Error rate of a hypothesis file against a reference file, with a bootstrap interval over "
        "utterances, and how both files were read. Words are compared exactly unless told otherwise. Utterances "
        "without a hypothesis count as deletions; ids that match in fewer than half the lines are an error.",
    )
    parser.add_argument("reference", type=Path, help="a text file, or a folder with LibriSpeech's *.trans.txt in it")
    parser.add_argument("hypothesis", type=Path, help="the same; the two may be in different formats with ids")
    parser.add_argument(
        "--format",
        type=one_of("--format", FORMATS),
        default="auto",
        metavar="FORMAT",
        help="of both files: trn (`words (id)`), kaldi (`id words`), ctm (`id channel start duration word`), text "
        "(words alone, line n against line n), or auto (default): as each file looks; where that cannot be told, it is "
        "asked for",
    )
    parser.add_argument("--ignore-case", action="store_true", help="compare without regard to case")
    parser.add_argument(
        "--ignore-punctuation",
        action="store_true",
        help="leave out punctuation, except apostrophes inside words; hyphens part words",
    )
    parser.add_argument("--cer", action="store_true", help="count characters, spaces included, instead of words")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run_score(arguments: argparse.Namespace) -> None:
    """Print the error rate."""
    from kd_asr.evaluation.score import score

    text = score(
        arguments.reference,
        arguments.hypothesis,
        as_json=arguments.json,
        text_format=arguments.format,
        ignore_case=arguments.ignore_case,
        ignore_punctuation=arguments.ignore_punctuation,
        characters=arguments.cer,
    )
    print(text)
