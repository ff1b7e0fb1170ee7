"""The command `kd-asr tensorboard`: curves of all trainings of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kd_asr.cli.parsing import existing_folder
from kd_asr.console import say


def add_curves(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "tensorboard",
        help="write the curves of all trainings of a run for TensorBoard",
        description="Writes the history of every training of a run (losses, learning rate, accuracy on dev), finished "
        "or under way, as event files into RUN/tensorboard; `tensorboard --logdir RUN/tensorboard` shows them. With "
        "--follow it goes on with what is added until Ctrl-C, while another command trains. Histories themselves are "
        "history.jsonl in each training's folder (`.NAME.partial` while it is made), a line of JSON at a time. Needs "
        "`pip install kd-asr[tensorboard]`.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=existing_folder("RUN"), metavar="RUN", help="run folder")
    parser.add_argument("--follow", action="store_true", help="go on until interrupted")


def run_curves(arguments: argparse.Namespace) -> None:
    """Write the curves."""
    from kd_asr.exchange.curves import FOLDER, write_curves

    run_dir: Path = arguments.run
    say(f"{write_curves(run_dir, follow=arguments.follow)} trainings: tensorboard --logdir {run_dir / FOLDER}")
