"""`kd-asr configure`, and what `kd-asr run` shares with it: corpus and settings of a run on speech."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_asr.artifacts import locked
from kd_asr.cli.parsing import check_run_folder, existing_file, existing_folder, one_of
from kd_asr.console import say
from kd_asr.presets import find_preset
from kd_asr.settings.files import save_settings
from kd_asr.stages.settings import Settings, parse_settings


def add_corpus_options(command: argparse.ArgumentParser) -> None:
    """Add the options that name the speech and the language model."""
    command.add_argument(
        "--corpus",
        type=one_of("--corpus", ("auto", "librispeech", "embedded")),
        default="auto",
        metavar="auto|librispeech|embedded",
        help="auto (default): --librispeech or $LIBRISPEECH, else data/LibriSpeech, else download mini LibriSpeech, "
        "else (no network) the embedded corpus of synthetic speech",
    )
    command.add_argument(
        "--librispeech",
        type=existing_folder("--librispeech"),
        metavar="DIR",
        help="folder in LibriSpeech's layout, its subsets as folders below it",
    )
    command.add_argument("--train", metavar="NAME", help="subset to train on")
    command.add_argument("--dev", metavar="NAME", help="subset every choice is made on")
    command.add_argument("--test", metavar="NAME", help="subset read once, at the end")
    command.add_argument(
        "--lm",
        type=existing_file("--lm"),
        metavar="FILE",
        help="ARPA language model, gzipped or not (default: the corpus's own, else estimated from the training text)",
    )


def add_configure(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `configure`."""
    command = commands.add_parser(
        "configure",
        help="make a run folder: choose the corpus, check every setting, write settings.yaml",
        description="Make (or change) the run folder RUN and check everything that can be checked before work starts. "
        "The stages read RUN/settings.yaml; after a change they make again what it affects and keep everything else.",
        allow_abbrev=False,
    )
    command.settings = Settings
    command.add_argument("run", type=Path, help="run folder, made if it does not exist")
    command.add_argument("--config", metavar="PRESET|FILE", help="name of a preset, or a YAML file of settings")
    add_corpus_options(command)
    command.add_argument(
        "--data", type=Path, default=Path("data"), metavar="DIR", help="folder for corpora (default: data)"
    )


def configure(arguments: argparse.Namespace, flags: Sequence[str]) -> None:
    """Check everything, then write the settings into the run folder."""
    config = find_preset(arguments.config) if arguments.config else None
    settings = choose_settings(arguments, flags, config, arguments.data)
    arguments.run.mkdir(parents=True, exist_ok=True)
    with locked(arguments.run):
        save(arguments.run, settings)


def choose_settings(arguments: argparse.Namespace, flags: Sequence[str], config: Path | None, data: Path) -> Settings:
    """All settings of a run, its corpus chosen; nothing is made but what finding a corpus takes.

    Args:
        arguments: values of `add_corpus_options`, and `run`, the run folder.
        flags: settings such as `--train.epochs=8`.
        config: YAML file below the flags.
        data: where corpora land.

    Raises:
        UserError: an option or a setting cannot work, or there is no such corpus.
    """
    from kd_asr.corpora.choose import choose_corpus
    from kd_asr.device import find_device
    from kd_asr.stages.lexicon import check_given_files
    from kd_asr.stages.systems import run_systems

    # What is wrong in the settings is said before the corpus is looked for.
    given = [f"--language_model.arpa={arguments.lm.resolve()}"] if arguments.lm else []
    early = parse_settings([*flags, *given], config)
    find_device(early.device)
    check_given_files(early)
    run_systems(early)  # refuses methods that cannot work
    check_run_folder(arguments.run)
    choice = choose_corpus(
        arguments.corpus,
        arguments.librispeech,
        data,
        train=arguments.train,
        dev=arguments.dev,
        test=arguments.test,
    )
    say(choice.sentence)
    root = str(choice.root)
    if choice.source == "embedded" and early.corpus.embedded_size == "miniature":
        root += "_miniature"
    chosen = {"source": choice.source, "root": root, "train": choice.train, "dev": choice.dev}
    corpus_flags = [f"--corpus.{key}={value}" for key, value in {**chosen, "test": choice.test}.items()]
    if choice.arpa and not early.language_model.arpa:
        given = [f"--language_model.arpa={choice.arpa}"]
    return parse_settings([*flags, *corpus_flags, *given], config)


def save(run: Path, settings: Settings) -> None:
    """Write the settings into a run folder that the caller has locked."""
    save_settings(run, settings)
    say(f"settings: {run / 'settings.yaml'}")
