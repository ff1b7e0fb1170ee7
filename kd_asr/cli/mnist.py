"""The commands `kd-asr mnist ...`: parsing and printing."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kd_asr.artifacts import locked
from kd_asr.cli.methods import with_methods
from kd_asr.cli.parsing import check_run_folder, one_of, setting_flags
from kd_asr.console import say
from kd_asr.executors.shares import executing
from kd_asr.experiments.mnist.settings import MnistSettings, flags_for_bundled_digits
from kd_asr.presets import find_preset
from kd_asr.settings.files import load_settings_of, names_no_preset, parse_settings_of, save_settings


@dataclass(frozen=True)
class MnistStage:
    """A command of the MNIST recipe: name, module of its stage, summary and description."""

    name: str
    module: str
    summary: str
    details: str


MNIST_STAGES = (
    MnistStage(
        "digits",
        "digits",
        "get and check the digits (every experiment does so first)",
        "Downloads MNIST's four files if the settings name a folder without them; writes digits/.",
    ),
    MnistStage(
        "table",
        "table",
        "teachers, students on hard labels, distilled students, the ensemble and its students",
        "Trains on all training images and reads test once. Settings: seeds, members, teacher.*, hard.*, distilled.*, "
        "distil.*.",
    ),
    MnistStage(
        "temperature",
        "temperature",
        "students of several widths and temperatures, compared on dev",
        "Does not read test. Settings: temperature.*, distilled.*, distil.*.",
    ),
    MnistStage(
        "omit3",
        "transfer",
        "students that never see a 3, before and after their bias is corrected",
        "The correction is fitted on dev, and for comparison on test as the paper did. Settings: transfer.*, seeds.",
    ),
    MnistStage(
        "only78",
        "transfer",
        "students that see 7s and 8s only, before and after their bias is corrected",
        "The correction is fitted on dev, and for comparison on test as the paper did. Settings: transfer.*, seeds.",
    ),
    MnistStage(
        "losses",
        "losses",
        "several losses against the same teacher at equal budget, compared on dev",
        "Soft cross-entropy, both divergences, squared difference of logits, and the limit of high temperature. Does "
        "not read test. Settings: losses.*, distilled.*.",
    ),
    MnistStage(
        "reduced",
        "reduced",
        "few labels: hard labels with and without early stopping, against soft targets",
        "Networks of the same architecture and number of updates, on nested parts of the labels; test is read once. "
        "Settings: reduced.*, hard.*, distil.*.",
    ),
    MnistStage(
        "privileged",
        "privileged",
        "few images: students that see less of each than their teachers, by Lopez-Paz and others",
        "A teacher on images as they are, students on images at a low resolution: on hard labels, distilled, and "
        "distilled from a teacher at the low resolution. Test is read once. Settings: privileged.*.",
    ),
    MnistStage(
        "filters",
        "filters",
        "compare filters and layers of convolutional students with their teachers': what is inherited",
        "Trains teachers, students on hard labels and students of each teacher on all training images; test is read "
        "once. Settings: filters.*, hard.*.",
    ),
    MnistStage(
        "report",
        "report",
        "write one page of tables and plots of the finished experiments",
        "Writes report/report.md, report.json and PNG files, and prints the main table.",
    ),
)


def add_digit_options(command: argparse.ArgumentParser, folder: str) -> None:
    """Add the options that name the digits; `folder` is the one for MNIST's files."""
    command.add_argument(
        "--source",
        type=one_of("--source", ("auto", "mnist", "digits")),
        default="auto",
        metavar="auto|mnist|digits",
        help=f"which digits; auto (default): {folder} or $MNIST, else data/mnist, else a download into it, else (no "
        "network) scikit-learn's 8 x 8 digits, which are not MNIST",
    )
    command.add_argument(
        folder, dest="mnist", type=Path, metavar="DIR", help="folder with MNIST's four IDX gz files (default: $MNIST)"
    )


def add_mnist(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `mnist` and its commands."""
    group = commands.add_parser(
        "mnist",
        help="the MNIST recipe: the same distillation on handwritten digits (its own commands)",
        description="Distillation on MNIST, by the code that distils acoustic models: the first table of Hinton, "
        "Vinyals and Dean (2015) and their further experiments. `kd-asr mnist configure RUN` makes a run folder; each "
        "experiment then trains the networks that it needs and that are missing. `kd-asr run digits` does all of this.",
    )
    inner = group.add_subparsers(dest="mnist_command", required=True, metavar="COMMAND")
    configure = inner.add_parser(
        "configure",
        help="make a run folder: find the digits, check every setting, write settings.yaml",
        description="Make (or change) the run folder RUN and check everything that can be checked before work starts.",
        allow_abbrev=False,
    )
    configure.settings = MnistSettings
    configure.add_argument("run", type=Path, help="run folder, made if it does not exist")
    configure.add_argument("--preset", metavar="NAME|FILE", help="budget: name of a preset, or a YAML file of settings")
    add_digit_options(configure, "--mnist")
    configure.add_argument(
        "--data", type=Path, default=Path("data"), metavar="DIR", help="folder for downloads (default: data)"
    )
    for stage in MNIST_STAGES:
        command = inner.add_parser(
            stage.name,
            help=stage.summary,
            description=f"{stage.summary[0].upper()}{stage.summary[1:]}. {stage.details}",
        )
        command.add_argument("run", type=Path, help="run folder made by `kd-asr mnist configure`")


def run_mnist(arguments: argparse.Namespace, flags: Sequence[str]) -> None:
    """Run a command of the group; `flags` are the settings of `configure`."""
    if arguments.mnist_command == "configure":
        config = find_preset(arguments.preset, digits=True) if arguments.preset else None
        flags = setting_flags(flags, "kd-asr mnist configure", MnistSettings, arguments.options)
        settings = choose_digit_settings(arguments, flags, config, arguments.data)
        arguments.run.mkdir(parents=True, exist_ok=True)
        with locked(arguments.run):
            save(arguments.run, settings)
        return
    load_mnist_settings(arguments.run)  # refuses a folder that is not a run before a lock is made in it
    with locked(arguments.run):
        make(arguments.mnist_command, arguments.run, load_mnist_settings(arguments.run))


def load_mnist_settings(run_dir: Path) -> MnistSettings:
    """Settings of a run on digits."""
    return load_settings_of(MnistSettings, run_dir, "mnist configure")


def make(name: str, run_dir: Path, settings: MnistSettings) -> None:
    """Run one of `MNIST_STAGES` on a run folder that the caller has locked, and print its table, if it has one."""
    stage = next(one for one in MNIST_STAGES if one.name == name)
    module = importlib.import_module(f"kd_asr.experiments.mnist.{stage.module}")
    with executing(settings.executor, run_dir):
        made = getattr(module, name)(run_dir, settings)
    if name == "report":
        module.print_table(run_dir / "report" / "report.json")
    elif name == "filters":
        module.print_table(made)


def choose_digit_settings(
    arguments: argparse.Namespace, flags: Sequence[str], config: Path | None, data: Path
) -> MnistSettings:
    """All settings of a run, with the chosen digits.

    Args:
        arguments: values of `add_digit_options`, and `run`, the run folder.
        flags: settings such as `--teacher.epochs=8`.
        config: YAML file, which flags override.
        data: folder for downloads.

    Raises:
        UserError: an option or a setting cannot work, or there are no such digits.
    """
    from kd_asr.corpora.mnist import choose_digits
    from kd_asr.device import find_device
    from kd_asr.executors.base import make_executor

    if config is not None and names_no_preset(config):
        flags = [f"--preset={config.stem}", *flags]
    # Errors in the settings are reported before the digits are looked for.
    flags = with_methods(flags, lambda some: parse_settings_of(MnistSettings, some, config), _check_methods)
    early = parse_settings_of(MnistSettings, flags, config)
    _check_methods(early)
    find_device(early.device, make_executor(early.executor))
    check_run_folder(arguments.run)
    choice = choose_digits(arguments.source, arguments.mnist, data)
    say(choice.sentence)
    chosen = [f"--data.source={choice.source}", f"--data.root={choice.root}"]
    fitting = flags_for_bundled_digits(early) if choice.source == "digits" else []
    return _settled(parse_settings_of(MnistSettings, [*fitting, *flags, *chosen], config))


def _settled(settings: MnistSettings) -> MnistSettings:
    """The settings with those of the students' teacher as a run folder keeps them, with digests of files it reads."""
    from kd_asr.registry import find

    asked = settings.distilled.teacher
    teacher = replace(asked, settings=find("teacher", asked.name).settled(asked.settings))
    return replace(settings, distilled=replace(settings.distilled, teacher=teacher))


def _check_methods(settings: MnistSettings) -> None:
    """Refuse methods that cannot work with the other settings."""
    from kd_asr.experiments.mnist.settings import IMAGE_SHAPES
    from kd_asr.experiments.mnist.table import student_jobs, table_systems
    from kd_asr.jobs.taps import check_taps

    table_systems(settings)
    shape = IMAGE_SHAPES[settings.data.source]
    check_taps(student_jobs(settings), teacher=settings.teacher.network, shape_of=lambda network: shape)


def save(run: Path, settings: MnistSettings) -> None:
    """Write the settings into a run folder that the caller has locked."""
    save_settings(run, settings)
    say(f"settings: {run / 'settings.yaml'}")
