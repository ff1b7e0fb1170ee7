"""Curves of trainings for TensorBoard, from their histories, finished ones and those that are under way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_asr.errors import UserError
from kd_asr.training.history import HISTORY

FOLDER = "tensorboard"
_FIGURES = ("train_loss", "learning_rate", "dev_accuracy", "dev_cross_entropy", "train_accuracy")
_SECONDS = 5.0


def histories(run_dir: Path) -> dict[str, Path]:
    """File of the history of each training of a run, by the training's name; of one that is made anew, the new one."""
    found: dict[str, Path] = {}
    for path in sorted(run_dir.rglob(HISTORY)):
        # Of a single training's folder its own name.
        *above, own = path.parent.relative_to(run_dir).parts or (run_dir.resolve().name,)
        under_way = own.startswith(".") and own.endswith(".partial")
        name = "/".join([*above, own[1 : -len(".partial")] if under_way else own])
        if under_way or name not in found:
            found[name] = path
    return found


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a history that may be growing; none of a file that has just gone.

    Raises:
        UserError: a line is none of a history; names file and line.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            break
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            fields = None
        if not _is_history(fields):
            raise UserError(
                f"{path}, line {number}: not a line of a training's history: train this network again, or move it away"
            )
        found.append(fields)
    return found


def _is_history(fields: object) -> bool:
    """Whether a JSON value has an update and figures that are numbers."""
    if not isinstance(fields, dict) or type(fields.get("update")) is not int or abs(fields["update"]) >= 1 << 63:
        return False
    losses = fields.get("losses", {})
    if not isinstance(losses, dict):
        return False
    figures = [*(fields.get(name) for name in _FIGURES), *losses.values()]
    return all(
        value is None or isinstance(value, float) or (type(value) is int and abs(value) < 1 << 63) for value in figures
    )


def figures_of(line: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The figures of a line of history, by name; those of losses as `losses/NAME`."""
    for name in _FIGURES:
        if line.get(name) is not None:
            yield name, line[name]
    for name, value in line.get("losses", {}).items():
        if value is not None:
            yield f"losses/{name}", value


def write_curves(run_dir: Path, *, follow: bool = False) -> int:
    """Write the event files of all trainings of a run into `tensorboard/`, anew; the number of trainings.

    Args:
        run_dir: folder of the run.
        follow: go on with what is added, until interrupted.

    Raises:
        UserError: there is no history yet and none is waited for, or TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError("TensorBoard is not installed: pip install kd-asr[tensorboard]") from error
    if not histories(run_dir) and not follow:
        raise UserError(f"{run_dir} has no training with a {HISTORY}: name a run folder, or wait for one with --follow")
    for old in (run_dir / FOLDER).rglob("events.out.tfevents.*"):
        old.unlink()
    written: dict[str, int] = {}
    writers: dict[str, Any] = {}
    try:
        while True:
            for name, path in histories(run_dir).items():
                lines = lines_of(path)
                if name not in writers:
                    writers[name] = SummaryWriter(str(run_dir / FOLDER / name))
                for line in lines[written.get(name, 0) :]:
                    for figure, value in figures_of(line):
                        writers[name].add_scalar(figure, value, line["update"])
                # One that is made anew, or goes on from a checkpoint, may have fewer lines for a while.
                written[name] = max(written.get(name, 0), len(lines))
                writers[name].flush()
            if not follow:
                return len(written)
            time.sleep(_SECONDS)
    except KeyboardInterrupt:
        return len(written)
    finally:
        for writer in writers.values():
            writer.close()
