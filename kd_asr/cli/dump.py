"""The command `kd-asr dump`: alignments and posteriors of a run for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kd_asr.cli.parsing import add_device_option, one_of, whole_number
from kd_asr.console import say
from kd_asr.corpora.manifest import SETS
from kd_asr.exchange import FORMATS
from kd_asr.settings.files import SETTINGS_FILE


def add_dump(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "dump",
        help="write alignments or posteriors of a run for Kaldi, Praat, lhotse or NumPy",
        description="Of a run folder: the alignment of a set, as words.ctm and phones.ctm (ctm), one .TextGrid for "
        "each utterance (textgrid), recordings and supervisions with timed words and phones (lhotse), or the class of "
        "every frame as pdfs.ark and .scp (kaldi) or pdfs.npz (npz). Of a system (RUN/distil/student-00, "
        "RUN/ensemble): the natural log-posteriors of every frame as posteriors.ark and .scp (kaldi) or posteriors.npz "
        "(npz), which another run can take as its teacher. classes.tsv says which phones and states the classes are.",
        allow_abbrev=False,
    )
    parser.add_argument("place", type=Path, metavar="RUN|SYSTEM", help="run folder, or folder of a trained system")
    parser.add_argument(
        "--format", required=True, type=one_of("--format", FORMATS), metavar="|".join(FORMATS), help="what to write"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the files")
    parser.add_argument(
        "--set", default="train", type=one_of("--set", SETS), metavar="|".join(SETS), help="set (default: train)"
    )
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")
    parser.add_argument("--jobs", type=whole_number("--jobs", 0), default=0, help="processes (default: one per core)")
    add_device_option(parser, "where the networks are applied")


def run_dump(arguments: argparse.Namespace) -> None:
    """Write what was asked for."""
    from kd_asr.exchange.dump import check_out, dump_alignments, dump_posteriors, system_in

    out: Path = arguments.out
    if (arguments.place / SETTINGS_FILE).is_file():
        check_out(out, overwrite=arguments.overwrite)
        count, what = dump_alignments(arguments.place, arguments.set, arguments.format, out), "alignments"
    else:
        system = system_in(arguments.place, device=arguments.device or "auto", jobs=arguments.jobs)
        check_out(out, overwrite=arguments.overwrite)
        count, what = dump_posteriors(system, arguments.set, arguments.format, out), "posteriors"
    say(f"{what} of {count} utterances of {arguments.set}: {out}")
