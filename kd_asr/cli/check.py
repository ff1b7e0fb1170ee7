"""The command `kd-asr check`: whether the files of a run are as they were made, and what to run where they are not."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kd_asr.artifacts import all_artifacts, fault, making_command
from kd_asr.console import say
from kd_asr.errors import UserError


def add_check(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "check",
        help="read all files of a run and compare them with their checksums",
        description="Reads every file of every finished stage of a run and compares it with the checksum in its "
        "manifest.json. Names what is damaged or missing; the stage makes it again when it is run. Exit status 0 if "
        "all is whole, 2 if not.",
    )
    parser.add_argument("run", type=Path, help="run folder")


def run_check(run_dir: Path) -> None:
    """Compare all files with their checksums.

    Raises:
        UserError: the folder is no run, or a file is not as it was made.
    """
    artifacts = all_artifacts(run_dir)
    if not artifacts:
        raise UserError(f"{run_dir} has no finished stage: name a run folder")
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
