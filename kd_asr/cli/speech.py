"""`kd-asr configure`, and what `kd-asr run` shares with it: corpus and settings of a run on speech."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from kd_asr.artifacts import locked
from kd_asr.cli.methods import with_methods
from kd_asr.cli.parsing import check_run_folder, existing_file, existing_folder, setting_flags
from kd_asr.console import say
from kd_asr.corpora.librispeech import LibriSpeechSettings
from kd_asr.corpora.manifest import SETS
from kd_asr.errors import UserError
from kd_asr.presets import FOLDER, find_preset
from kd_asr.registry import Named, find, names
from kd_asr.settings.files import names_no_preset, save_settings
from kd_asr.stages.settings import Settings, parse_settings

# The corpora that are looked for where none is named.
AUTO, LIBRISPEECH, EMBEDDED = "auto", "librispeech", "embedded"
LOOKED_FOR = (LIBRISPEECH, EMBEDDED)


def add_corpus_options(command: argparse.ArgumentParser) -> None:
    """Add the options that name the speech and the language model."""
    command.add_argument(
        "--corpus",
        type=_corpus,
        default=AUTO,
        metavar="NAME",
        help=f"{', '.join(names('corpus'))}, or a class of your own as package.module:Class; auto (default): what the "
        "settings name, else --librispeech or $LIBRISPEECH, else data/LibriSpeech, else download mini LibriSpeech, "
        "else (no network) the embedded corpus of synthetic speech",
    )
    command.add_argument(
        "--librispeech",
        type=existing_folder("--librispeech"),
        metavar="DIR",
        help="folder in LibriSpeech's layout, its subsets as folders below it",
    )
    command.add_argument(
        "--train", metavar="NAME", help="what to train on: a subset, folder or file, as the corpus has it"
    )
    command.add_argument("--dev", metavar="NAME", help="the same, that every choice is made on")
    command.add_argument("--test", metavar="NAME", help="the same, that is read once, at the end")
    command.add_argument(
        "--unlabelled",
        type=existing_folder("--unlabelled"),
        action="append",
        default=[],
        metavar="DIR",
        help="folder of audio without transcripts, in any layout, that students learn from as well; repeatable",
    )
    command.add_argument(
        "--language",
        metavar="NAME",
        help="language of the speech, as espeak-ng calls it, such as de, fr or pt-br (default: en-us): pronunciations, "
        "numbers, and the embedded corpus",
    )
    command.add_argument(
        "--lm",
        type=existing_file("--lm"),
        metavar="FILE",
        help="ARPA language model, gzipped or not (default: the corpus's own, else estimated from the training text)",
    )


def _corpus(value: str) -> str:
    """The type of --corpus."""
    if value != AUTO:
        find("corpus", value)
    return value


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
    command.add_argument("--preset", metavar="NAME|FILE", help="budget: name of a preset, or a YAML file of settings")
    add_corpus_options(command)
    command.add_argument(
        "--data", type=Path, default=Path("data"), metavar="DIR", help="folder for corpora (default: data)"
    )


def configure(arguments: argparse.Namespace, flags: Sequence[str]) -> None:
    """Check everything, then write the settings into the run folder."""
    config = find_preset(arguments.preset) if arguments.preset else None
    flags = setting_flags(flags, "kd-asr configure", Settings, arguments.options)
    settings = choose_settings(arguments, flags, config, arguments.data)
    arguments.run.mkdir(parents=True, exist_ok=True)
    with locked(arguments.run):
        save(arguments.run, settings)


def choose_settings(arguments: argparse.Namespace, flags: Sequence[str], config: Path | None, data: Path) -> Settings:
    """All settings of a run, its corpus chosen; nothing is made but what finding a corpus takes.

    Args:
        arguments: values of `add_corpus_options`, and `run`, the run folder; None where there is none.
        flags: settings such as `--train.epochs=8`.
        config: YAML file below the flags.
        data: where corpora land.

    Raises:
        UserError: an option or a setting cannot work, or there is no such corpus.
    """
    from kd_asr.corpora.base import corpus_of
    from kd_asr.corpora.languages import check_language
    from kd_asr.corpora.unlabelled import list_audio
    from kd_asr.device import find_device
    from kd_asr.executors.base import make_executor
    from kd_asr.stages.lexicon import check_given_files

    if config is not None and names_no_preset(config):
        flags = [f"--preset={config.stem}", *flags]
    # What is wrong in the settings is said before the corpus is looked for.
    lm = [f"--language_model.arpa={arguments.lm.resolve()}"] if arguments.lm else []
    if arguments.unlabelled:
        folders = list(dict.fromkeys(str(folder.absolute()) for folder in arguments.unlabelled))
        flags = [*flags, f"--unlabelled.folders={json.dumps(folders)}"]
    if arguments.corpus != AUTO:
        flags = [f"--corpus={arguments.corpus}", *flags]
    if arguments.language:
        check_language(arguments.language)
        flags = [*flags, f"--spelling.language={arguments.language}"]
        if arguments.corpus == EMBEDDED:
            flags.append(f"--corpus.embedded.language={arguments.language}")
    flags = with_methods(flags, lambda some: parse_settings([*some, *lm], config), _check_methods)
    early = parse_settings([*flags, *lm], config)
    find_device(early.device, make_executor(early.executor))
    if early.corpus.name != arguments.corpus != AUTO:
        raise UserError(
            f"--corpus {arguments.corpus} and --corpus.{early.corpus.name} contradict each other: give one of them"
        )
    check_given_files(early)
    list_audio(early.unlabelled.folders, early.unlabelled)  # refuses one without audio
    teacher = early.distil.teacher
    teacher = replace(teacher, settings=find("teacher", teacher.name).settled(teacher.settings))
    _check_methods(early)
    if arguments.run is not None:
        check_run_folder(arguments.run)
    named = early.corpus if _names_corpus(early, flags, config) else None
    if named is None or named.name in LOOKED_FOR:
        found = _looked_for(arguments, named, early, data)
        return _taught_by(teacher, parse_settings([*flags, *found, *lm], config))
    if arguments.librispeech is not None:
        raise UserError(f"--librispeech and the corpus {named.name} contradict each other: give one of them")
    sets = {name: getattr(arguments, name) for name in SETS}
    given = [f"--corpus.{named.name}.{name}={value}" for name, value in sets.items() if value is not None]
    settings = parse_settings([*flags, *given, *lm], config)
    settled = replace(settings.corpus, settings=corpus_of(settings.corpus).settled())
    chosen = corpus_of(settled)
    chosen.check()
    say(f"corpus: {chosen.label}, read as {named.name}")
    return _taught_by(teacher, replace(settings, corpus=settled))


def _taught_by(teacher: Named, settings: Settings) -> Settings:
    return replace(settings, distil=replace(settings.distil, teacher=teacher))


def _check_methods(settings: Settings) -> None:
    """Refuse methods that cannot work with the other settings."""
    from kd_asr.jobs.taps import check_taps
    from kd_asr.networks.base import view_of
    from kd_asr.stages.plan import student_jobs
    from kd_asr.stages.systems import run_systems

    run_systems(settings)
    check_taps(
        student_jobs(settings),
        teacher=settings.teacher_network,
        shape_of=lambda network: view_of(network).input_shape(settings.features.num_mel_bins),
    )


def _names_corpus(settings: Settings, flags: Sequence[str], config: Path | None) -> bool:
    """Whether flags or a file of the user's own name the corpus.

    A preset that comes with kd_asr says how the embedded corpus is made, if it comes to that.
    """
    own_file = config is not None and config.parent != FOLDER and settings.corpus != Settings().corpus
    return own_file or any(flag.startswith(("--corpus=", "--corpus.")) for flag in flags)


def _looked_for(arguments: argparse.Namespace, named: Named | None, early: Settings, data: Path) -> list[str]:
    """LibriSpeech or the embedded corpus, as flags; settings that name one are kept."""
    from kd_asr.corpora.choose import choose_corpus
    from kd_asr.corpora.languages import is_english

    names, folder = {name: getattr(arguments, name) for name in SETS}, arguments.librispeech
    if named is not None and named.name == LIBRISPEECH:
        default = LibriSpeechSettings()
        names = {name: value or getattr(named.settings, name) for name, value in names.items()}
        if folder is None and named.settings.root != default.root:
            folder = Path(named.settings.root)
    source: Literal["auto", "librispeech", "embedded"] = "auto"
    if named is not None:
        source = "librispeech" if named.name == LIBRISPEECH else "embedded"
    choice = choose_corpus(source, folder, data, **names)
    say(choice.sentence)
    root = str(choice.root)
    if choice.source == EMBEDDED and early.corpus.name == EMBEDDED and early.corpus.settings.size != "full":
        root += f"_{early.corpus.settings.size}"
    if choice.source == EMBEDDED and early.corpus.name == EMBEDDED and not is_english(early.spelling.language):
        root += f"_{early.spelling.language}"
    chosen = {"root": root}
    if choice.source == LIBRISPEECH:
        chosen |= {name: getattr(choice, name) for name in SETS}
    given = [f"--corpus.{choice.source}.{key}={value}" for key, value in chosen.items()]
    if choice.arpa and not early.language_model.arpa:
        given.append(f"--language_model.arpa={choice.arpa}")
    return given


def run_name(corpus: str, flags: Sequence[str]) -> str:
    """What a run folder is called after: the corpus that is named, or LibriSpeech where one is looked for."""
    named_in_flags = (re.match(r"--corpus\.(\w+)\.", flag) for flag in flags)
    name = next((found[1] for found in named_in_flags if found), corpus) if corpus == AUTO else corpus
    return LIBRISPEECH if name in (AUTO, *LOOKED_FOR) else name.rpartition(":")[2].lower()


def save(run: Path, settings: Settings) -> None:
    """Write the settings into a run folder that the caller has locked."""
    save_settings(run, settings)
    say(f"settings: {run / 'settings.yaml'}")
