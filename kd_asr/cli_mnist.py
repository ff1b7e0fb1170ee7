"""The commands `kd-asr mnist ...`: parsing and printing only."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_asr.artifacts import locked
from kd_asr.console import say
from kd_asr.mnist_config import MnistSettings, flags_for_bundled_digits
from kd_asr.settings.files import load_settings_of, parse_settings_of, save_settings


@dataclass(frozen=True)
class MnistStage:
    """A command of the MNIST recipe: its name, the file of its stage, what it does in one line and in full."""

    name: str
    module: str
    summary: str
    details: str


MNIST_STAGES = (
    MnistStage(
        "digits",
        "mnist_digits",
        "get and check the digits (every experiment does it first)",
        "Downloads MNIST's four files if the settings name a folder without them; writes digits/.",
    ),
    MnistStage(
        "table",
        "mnist_table",
        "teachers, students on hard labels, distilled students, the ensemble and its students",
        "Trains on all training images and reads test once. Settings: seeds, members, teacher.*, hard.*, distilled.*, "
        "distil.*.",
    ),
    MnistStage(
        "temperature",
        "mnist_temperature",
        "students of several widths and temperatures, compared on dev",
        "Does not read test. Settings: temperature.*, distilled.*, distil.*.",
    ),
    MnistStage(
        "omit3",
        "mnist_transfer",
        "students that never see a 3, before and after their bias is corrected",
        "The correction is fitted on dev, and for comparison on test as the paper did. Settings: transfer.*, seeds.",
    ),
    MnistStage(
        "only78",
        "mnist_transfer",
        "students that see 7s and 8s only, before and after their bias is corrected",
        "The correction is fitted on dev, and for comparison on test as the paper did. Settings: transfer.*, seeds.",
    ),
    MnistStage(
        "losses",
        "mnist_losses",
        "several losses against the same teacher at equal budget, compared on dev",
        "Soft cross-entropy, both divergences, squared difference of logits, and the limit of high temperature. Does "
        "not read test. Settings: losses.*, distilled.*.",
    ),
    MnistStage(
        "reduced",
        "mnist_reduced",
        "few labels: hard labels with and without early stopping, against soft targets",
        "Networks of the same architecture and number of updates, on nested parts of the labels; test is read once. "
        "Settings: reduced.*, hard.*, distil.*.",
    ),
    MnistStage(
        "report",
        "mnist_report",
        "one page of tables and pictures of the experiments that have been run",
        "Writes report/report.md, report.json and PNG files, and prints the main table.",
    ),
)


def add_mnist(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `mnist` and its commands."""
    group = commands.add_parser(
        "mnist",
        help="the MNIST recipe: the same distillation on handwritten digits (its own commands)",
        description="Distillation on MNIST, by the code that distils acoustic models: the first table of Hinton, "
        "Vinyals and Dean (2015) and their odd experiments. `kd-asr mnist configure RUN` makes a run folder; each "
        "experiment then trains what it needs and is missing. recipes/run_mnist.sh runs them.",
    )
    inner = group.add_subparsers(dest="mnist_command", required=True, metavar="COMMAND")
    configure = inner.add_parser(
        "configure",
        help="make a run folder: find the digits, check every setting, write settings.yaml",
        description="Make (or change) the run folder RUN and check everything that can be checked before work starts.",
        allow_abbrev=False,
    )
    configure.settings = MnistSettings
    configure.add_argument("run", type=Path, help="run folder, made if it is not there")
    configure.add_argument("--config", type=Path, help="YAML file of settings, such as recipes/conf/mnist_quick.yaml")
    configure.add_argument(
        "--source",
        choices=("auto", "mnist", "digits"),
        default="auto",
        help="auto: --mnist or $MNIST, else DATA/mnist, else a download, else (no network) scikit-learn's 8 x 8 digits",
    )
    configure.add_argument("--mnist", type=Path, help="folder with MNIST's four IDX gz files")
    configure.add_argument("--data", type=Path, default=Path("data"), help="where downloads land (default: data)")
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
        _configure(arguments, flags)
        return
    stage = next(one for one in MNIST_STAGES if one.name == arguments.mnist_command)
    settings = load_settings_of(MnistSettings, arguments.run, "mnist configure")
    function = getattr(importlib.import_module(f"kd_asr.stages.{stage.module}"), stage.name)
    with locked(arguments.run):
        function(arguments.run, settings)
        if stage.name == "report":
            from kd_asr.stages.mnist_report import print_table

            print_table(arguments.run / "report" / "report.json")


def _configure(arguments: argparse.Namespace, flags: Sequence[str]) -> None:
    from kd_asr.corpora.mnist import choose_digits

    # What is wrong in the settings is said before the digits are looked for.
    early = parse_settings_of(MnistSettings, flags, arguments.config)
    choice = choose_digits(arguments.source, arguments.mnist, arguments.data)
    say(choice.sentence)
    chosen = [f"--data.source={choice.source}", f"--data.root={choice.root}"]
    fitting = flags_for_bundled_digits(early) if choice.source == "digits" else []
    settings = parse_settings_of(MnistSettings, [*fitting, *flags, *chosen], arguments.config)
    arguments.run.mkdir(parents=True, exist_ok=True)
    save_settings(arguments.run, settings)
    say(f"settings: {arguments.run / 'settings.yaml'}")
