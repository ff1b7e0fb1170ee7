"""`kd-asr run`: from nothing to the report in one command, on a budget that a preset names."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kd_asr.artifacts import locked
from kd_asr.cli import mnist, speech, stages
from kd_asr.cli.mnist import MNIST_STAGES, add_digit_options
from kd_asr.cli.parsing import Lines, Parser, add_device_option, obstacle, one_of, setting_flags, whole_number
from kd_asr.cli.speech import add_corpus_options
from kd_asr.cli.stages import FURTHER, STAGES, Stage
from kd_asr.errors import UserError
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.nearest import did_you_mean
from kd_asr.presets import DIGITS, find_preset, preset_names
from kd_asr.stages.settings import Settings

# Of the main job, what networks on parts of the labels need; then what they are.
REDUCED_STAGES = (
    *[stage.name for stage in STAGES[: [stage.name for stage in STAGES].index("posteriors") + 1]],
    *("graph", "reduced", "reduced_report"),
)
EXPERIMENTS = tuple(stage.name for stage in MNIST_STAGES if stage.name not in ("digits", "report"))
_AGAIN = (
    "Run again after an interruption (Ctrl-C, a lost connection, a full disk) it goes on from the last checkpoint. "
    "What is done with the same settings is not done again; what another setting touches is. A second command on the "
    "same folder waits for the first."
)


def with_task(argv: Sequence[str]) -> Sequence[str]:
    """`run --preset NAME ...` as `run TASK --preset NAME ...`: the task is the preset's."""
    if list(argv[:1]) != ["run"] or len(argv) < 2 or not argv[1].startswith("--") or argv[1] == "--help":
        return argv
    peek = Parser(prog="kd-asr run", add_help=False, allow_abbrev=False)
    peek.add_argument("--preset", default="quick")
    preset = peek.parse_known_args(argv[1:])[0].preset
    return ["run", "digits" if Path(preset).name.startswith(DIGITS) else "speech", *argv[1:]]


def add_run(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `run` and its tasks."""
    group = commands.add_parser(
        "run",
        help="everything in one command: speech, digits, or speech of which few labels are left",
        description="Do a whole task, from data to report. Without TASK it is the preset's: `kd-asr run --preset "
        "standard` is `kd-asr run speech --preset standard`.",
    )
    tasks = group.add_subparsers(dest="task", required=True, metavar="TASK")
    _add_speech(tasks)
    _add_reduced_data(tasks)
    _add_digits(tasks)


def _add_task(
    tasks: argparse._SubParsersAction[Any], name: str, summary: str, epilog: str, *, digits: bool
) -> argparse.ArgumentParser:
    """The parser of a task, with the options that all tasks have."""
    corpus, configure = ("mnist", "mnist configure") if digits else ("librispeech", "configure")
    command: argparse.ArgumentParser = tasks.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\nAny setting can be given as --section.key VALUE, such as "
        f"--{'teacher' if digits else 'train'}.epochs 6; `kd-asr {configure} --help` lists them.",
        epilog=epilog,
        usage=f"kd-asr run {name} [option ...] [--section.key VALUE ...]",
        formatter_class=Lines,
        allow_abbrev=False,
    )
    command.add_argument(
        "--preset",
        default="quick",
        metavar="NAME|FILE",
        help=f"budget: {', '.join(preset_names(digits=digits))}, or a YAML file of settings (default: quick)",
    )
    command.add_argument(
        "--out", dest="run", type=Path, metavar="DIR", help=f"run folder (default: HOME/exp/{corpus}_PRESET)"
    )
    command.add_argument(
        "--home",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="folder of data/, where corpora land, and of exp/, where runs do (default: the working directory)",
    )
    but = "" if digits else " but the embedded corpus, which has corpus.embedded.seed"
    command.add_argument(
        "--seed", type=whole_number("--seed", 0), metavar="N", help=f"seed of everything random{but} (default: 1)"
    )
    command.add_argument(
        "--jobs",
        type=whole_number("--jobs", 0),
        metavar="N",
        help="processes, by default one per core; the result does not depend on it",
    )
    add_device_option(command, "where networks are trained and applied")
    return command


def _add_speech(tasks: argparse._SubParsersAction[Any]) -> None:
    command = _add_task(
        tasks,
        "speech",
        "from audio and transcripts to the table: baseline, ensemble of ten, distilled student; frame accuracy and WER",
        f"stages:\n{_listed(STAGES)}\n\nexamples:\n"
        "  kd-asr run speech                                     mini LibriSpeech, minutes on a laptop\n"
        "  kd-asr run speech --preset tiny --corpus embedded     the whole path, to try it, without a network\n"
        "  kd-asr run speech --preset standard --seed 2 --out exp/second --train.epochs 8\n"
        "  kd-asr run speech --librispeech MINE --train a --dev b --test c --lm MINE.arpa.gz\n"
        "  kd-asr run speech --corpus kaldi --train data/train --dev data/dev --test data/test\n"
        "  kd-asr run speech --unlabelled podcasts --distil.epochs 18 --distil.sizes '[1, 0.5, 0.25]'\n"
        "                                                        audio without transcripts, longer training and "
        "smaller networks for the students\n"
        "  kd-asr run speech --methods all --compare             every way of teaching students, side by side\n"
        "  kd-asr run speech --stage decode --decode.beam 13     on with the default run folder, from there\n\n"
        + _AGAIN,
        digits=False,
    )
    add_corpus_options(command)
    command.add_argument(
        "--students",
        type=whole_number("--students", 1),
        metavar="N",
        help="students trained; the report gives their mean (default: 3)",
    )
    _add_compare(command)
    command.add_argument("--stage", metavar="NAME", default=STAGES[0].name, help="begin with this stage")
    command.add_argument("--stop-stage", metavar="NAME", default=STAGES[-1].name, help="end after this stage")


def _add_compare(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--compare",
        action="store_true",
        help="at the end, set all systems side by side in RUN/comparison, as `kd-asr compare` does",
    )


def _add_reduced_data(tasks: argparse._SubParsersAction[Any]) -> None:
    command = _add_task(
        tasks,
        "reduced-data",
        "soft targets as regularisers: networks that see the labels of 3 to 100 percent of the speech",
        "Networks are trained on hard labels (stopped early, and to the end), on the ensemble's soft targets, and on "
        "both; the page RUN/reduced_report/report.md has frame accuracy, WER and curves. The main job's features, "
        "alignment, ensemble, posteriors and graph are taken from its run folder (by default the same one) as far as "
        f"they agree with the settings, and made if not.\n\nstages:\n{_listed(_reduced_stages())}\n\nexamples:\n"
        "  kd-asr run reduced-data --fractions 0.1,1.0 --seeds 1\n"
        "  kd-asr run reduced-data --preset tiny --corpus embedded --epochs 0.5 --draw frames\n\n" + _AGAIN,
        digits=False,
    )
    add_corpus_options(command)
    command.add_argument(
        "--students", type=whole_number("--students", 1), metavar="N", help="students of the main job (default: 3)"
    )
    command.add_argument(
        "--fractions",
        type=_matching("--fractions", r"[0-9.]+(,[0-9.]+)*", "is a list such as 0.03,0.1,1.0"),
        metavar="LIST",
        help="of the training set that keep their labels, such as 0.03,0.1,0.3,1.0 (the default)",
    )
    command.add_argument(
        "--seeds",
        type=_matching("--seeds", "[1-9][0-9]*", "must be a whole number of 1 or more"),
        metavar="N",
        help="repetitions, each with parts and initial weights of its own (default: 3)",
    )
    command.add_argument(
        "--draw",
        type=one_of("--draw", ("utterances", "frames")),
        metavar="utterances|frames",
        help="what parts are made of (default: utterances; frames is a check)",
    )
    command.add_argument(
        "--epochs",
        type=_matching("--epochs", r"[0-9]+(\.[0-9]+)?", "must be a number"),
        metavar="N",
        help="budget of every network, in passes over all the speech (default: 2)",
    )
    for option in ("--stage", "--stop-stage"):
        command.add_argument(option, type=_of_speech(option), help=argparse.SUPPRESS)


def _add_digits(tasks: argparse._SubParsersAction[Any]) -> None:
    command = _add_task(
        tasks,
        "digits",
        "MNIST by the code that distils acoustic models: teachers, students on hard labels, distilled students",
        f"experiments:\n{_listed([stage for stage in MNIST_STAGES if stage.name in EXPERIMENTS])}\n\n"
        "Experiments of one run folder share their teachers and stand on one page, RUN/report/report.md.\n\nexamples:\n"
        "  kd-asr run digits                                     the paper's first table on a small budget\n"
        "  kd-asr run digits --preset paper --experiment all\n"
        "  kd-asr run digits --preset tiny --source digits       the whole path in seconds, without a network\n\n"
        + _AGAIN,
        digits=True,
    )
    add_digit_options(command, "--data")
    command.add_argument(
        "--experiment", default="table", metavar="NAME", help=f"{', '.join(EXPERIMENTS)}, or all (default: table)"
    )
    _add_compare(command)
    command.add_argument(
        "--seeds",
        type=whole_number("--seeds", 1),
        metavar="N",
        help="repetitions of the table, of omit3 and of only78 (default: the preset's)",
    )


def _listed(found: Sequence[Stage | mnist.MnistStage]) -> str:
    """A line a stage: its name and what it does."""
    width = max(len(stage.name) for stage in found)
    return "\n".join(f"  {stage.name:{width}}  {stage.summary}" for stage in found)


def _reduced_stages() -> list[Stage]:
    known = {stage.name: stage for stage in (*STAGES, *FURTHER)}
    return [known[name] for name in REDUCED_STAGES]


def _matching(option: str, pattern: str, what: str) -> Callable[[str], str]:
    """The type of an option whose text must match a pattern; `what` says in words what it must be."""

    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise UserError(f"{option} {what}, not '{value}'")
        return value

    return parse


def _of_speech(option: str) -> Callable[[str], str]:
    """The type of an option that only `kd-asr run speech` takes."""

    def parse(value: str) -> str:
        raise UserError(f"{option} is an option of `kd-asr run speech` alone")

    return parse


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    """Do a task; `rest` are settings. Options and settings are checked before any work.

    The run folder is locked from the writing of its settings to the report.
    """
    prog = f"kd-asr run {arguments.task}"
    digits = arguments.task == "digits"
    options = {"seed": arguments.seed, "jobs": arguments.jobs, "device": arguments.device}
    if not digits:
        options["distil.students"] = arguments.students
    if arguments.task == "reduced-data":
        fractions = arguments.fractions and f"[{arguments.fractions}]"
        options |= {"reduced.fractions": fractions, "reduced.seeds": arguments.seeds}
        options |= {"reduced.draw": arguments.draw, "reduced.epochs": arguments.epochs}
    if digits:
        options["seeds"] = arguments.seeds
    flags = [f"--{key}={value}" for key, value in options.items() if value is not None]
    flags += setting_flags(rest, prog, MnistSettings if digits else Settings, arguments.options)
    config = find_preset(arguments.preset, digits=digits)
    names = _experiments(arguments.experiment) if digits else _stages(arguments)
    if arguments.run is None:
        kind = "mnist" if digits else speech.run_name(arguments.corpus, flags)
        arguments.run = arguments.home / "exp" / f"{kind}_{config.stem.removeprefix(DIGITS)}"
    place = obstacle(arguments.run)
    if place is not None:
        raise UserError(f"--out {arguments.run}: '{place}' is no folder that can be written into")
    compares = getattr(arguments, "compare", False)
    if compares and not {"table" if digits else "report", "report"} <= set(names):
        needs = "the experiment table: leave out --experiment" if digits else "the stage report: leave out --stop-stage"
        raise UserError(f"--compare needs {needs}")
    (_run_digits if digits else _run_speech)(arguments, flags, config, names)
    if compares:
        from kd_asr.experiments.comparison.compare import compare, print_comparison

        print_comparison(compare([arguments.run]))


def _stages(arguments: argparse.Namespace) -> list[str]:
    """The stages asked for, in order."""
    if arguments.task == "reduced-data":
        return list(REDUCED_STAGES)
    names = [stage.name for stage in STAGES]
    for name in (arguments.stage, arguments.stop_stage):
        if name not in names:
            raise UserError(f"unknown stage '{name}'{did_you_mean(name, names)}; the stages are: {' '.join(names)}")
    first, last = names.index(arguments.stage), names.index(arguments.stop_stage)
    if first > last:
        raise UserError(f"--stage {arguments.stage} comes after --stop-stage {arguments.stop_stage}")
    return names[first : last + 1]


def _experiments(name: str) -> list[str]:
    """The experiments asked for, and the page about them."""
    if name not in (*EXPERIMENTS, "all"):
        hint = did_you_mean(name, (*EXPERIMENTS, "all"))
        raise UserError(f"unknown experiment '{name}'{hint}; there are: {' '.join(EXPERIMENTS)} all")
    return [*(EXPERIMENTS if name == "all" else (name,)), "report"]


def _run_speech(arguments: argparse.Namespace, flags: Sequence[str], config: Path, names: Sequence[str]) -> None:
    folder: Path = arguments.run
    settings = speech.choose_settings(arguments, flags, config, arguments.home / "data")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        speech.save(folder, settings)
        for name in names:
            stages.make(name, folder, settings)


def _run_digits(arguments: argparse.Namespace, flags: Sequence[str], config: Path, names: Sequence[str]) -> None:
    folder: Path = arguments.run
    settings = mnist.choose_digit_settings(arguments, flags, config, arguments.home / "data")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        mnist.save(folder, settings)
        for name in names:
            mnist.make(name, folder, settings)
