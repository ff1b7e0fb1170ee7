"""The command `kd-asr check`: a run's files as they were made, or a corpus before any work."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_asr.artifacts import all_artifacts, fault, making_command
from kd_asr.cli.parsing import setting_flags, whole_number
from kd_asr.cli.speech import AUTO, add_corpus_options, choose_settings
from kd_asr.console import say
from kd_asr.errors import UserError
from kd_asr.settings.fields import dump
from kd_asr.settings.files import SETTINGS_FILE
from kd_asr.stages.settings import Settings
from kd_asr.text import shown


def add_check(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "check",
        help="look at a corpus before any work, or compare all files of a run with their checksums",
        usage="kd-asr check [RUN | CORPUS] [corpus options] [--section.key VALUE ...]",
        description="Of a corpus, named by the options of `kd-asr run speech` or as a folder whose layout is found "
        "out: says which sets, utterances, speakers and minutes there are, what is odd (sample rates, lengths, "
        "clipping, silence, copies, characters, shared speakers and sentences, words that the lexicon or the language "
        "model lacks), and what to type next; nothing is written. Of a run: reads every file of every finished stage "
        "and compares it with the checksum in its manifest.json; the stage makes again what is damaged or missing. "
        "Exit status 0 if the corpus can be used or all is whole, 2 if not.",
        allow_abbrev=False,
    )
    parser.add_argument("place", nargs="?", type=Path, metavar="RUN|CORPUS", help="run folder, or folder of a corpus")
    add_corpus_options(parser)
    parser.add_argument("--jobs", type=whole_number("--jobs", 0), metavar="N", help="processes (default: one per core)")


def run_check(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    """Check a run or a corpus.

    Raises:
        UserError: a file of the run is not as it was made, or the corpus cannot be used.
    """
    place: Path | None = arguments.place
    if place is not None and ((place / SETTINGS_FILE).is_file() or all_artifacts(place)):
        _check_run(place)
    else:
        _check_corpus(arguments, place, setting_flags(rest, "kd-asr check", Settings, arguments.options))


def _check_run(run_dir: Path) -> None:
    artifacts = all_artifacts(run_dir)
    if not artifacts:
        raise UserError(f"{run_dir} has no finished stage: name a run folder with one, or a corpus")
    damaged = []
    for artifact in artifacts:
        found = fault(artifact, thorough=True)
        if found:
            damaged.append(artifact.name)
            say(f"{found[0]}: {found[1]}")
    if damaged:
        commands = dict.fromkeys(making_command(run_dir, name) for name in damaged)
        remedy = ", ".join(f"`{command}`" for command in commands)
        raise UserError(f"{len(damaged)} of {len(artifacts)} artifacts are damaged: run {remedy} to make them again")
    files = sum(len(artifact.files) for artifact in artifacts)
    say(f"{files} files of {len(artifacts)} artifacts are as they were made")


def _check_corpus(arguments: argparse.Namespace, place: Path | None, own_flags: Sequence[str]) -> None:
    """Print what is found on standard output."""
    from kd_asr.corpora.guess import guess_corpus
    from kd_asr.exchange.corpus_check import check_corpus

    flags = [*own_flags, *([f"--jobs={arguments.jobs}"] if arguments.jobs is not None else [])]
    others: tuple[str, ...] = ()
    named = arguments.corpus != AUTO or arguments.librispeech is not None
    if place is not None and (named or arguments.train):
        raise UserError(f"{shown(place)} and options that name the corpus contradict each other: give one of them")
    if place is not None:
        guess = guess_corpus(place)
        others = guess.others
        values = {key: value for key, value in dump(guess.corpus.settings).items() if value != ""}
        flags.append(f"--corpus={guess.corpus.name}")
        flags += [f"--corpus.{guess.corpus.name}.{key}={value}" for key, value in values.items()]
    elif not named and not any(flag.startswith("--corpus.") for flag in flags):
        raise UserError("there is nothing to check: name a run folder, the folder of a corpus, or --corpus and --train")
    without_run = argparse.Namespace(**{**vars(arguments), "run": None})
    settings = choose_settings(without_run, flags, None, Path("data"))
    repeated = [flag for flag in own_flags if not flag.startswith("--corpus.")]
    repeated += [f"--lm={arguments.lm}"] if arguments.lm else []
    repeated += [f"--language={arguments.language}"] if arguments.language else []
    repeated += [f"--unlabelled={folder}" for folder in arguments.unlabelled]
    report = check_corpus(settings, repeated)
    for line in report.found:
        print(line)
    for title, lines in (("odd:", report.odd), ("cannot be used:", report.faults)):
        if lines:
            print("\n".join([title, *(f"  - {line}" for line in lines)]))
    if others:
        print(f"beside these sets there are {', '.join(map(shown, others))}: name others with --train, --dev or --test")
    if report.faults:
        faults = f"{len(report.faults)} reason{'s' * (len(report.faults) > 1)}"
        raise UserError(f"the corpus cannot be used, for the {faults} above")
    print(f"next: {report.command}")
