"""How far a training is, on disk: whoever reads it goes on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from kd_asr.device import HOST, Device
from kd_asr.errors import UserError
from kd_asr.training.step import RunningMeans

CHECKPOINT = "checkpoint.pt"


@dataclass
class State:
    """Everything that a resumed training needs beside model and optimiser."""

    update: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None  # {"epoch", "accuracy", "cross_entropy", "weights"}
    running: RunningMeans = field(default_factory=RunningMeans)


def checkpoint(
    model: nn.Module, optimiser: Mapping[str, Any], random_state: Mapping[str, Tensor], state: State
) -> dict[str, Any]:
    """All that a training needs to go on from here.

    Args:
        model: the model.
        optimiser: state of its optimiser.
        random_state: of the generators that it draws from.
        state: how far it is.
    """
    return {
        "model": model.state_dict(),
        "optimiser": optimiser,
        "random_state": random_state,
        "update": state.update,
        "history": state.history,
        "best": state.best,
        "running": state.running.to_checkpoint(),
    }


def write_checkpoints(folders: Sequence[Path], contents: Iterable[dict[str, Any]]) -> None:
    """Write a checkpoint into each folder; none takes the place of an earlier one before all are on the disk."""
    temporary = [folder / f".{CHECKPOINT}.tmp" for folder in folders]
    for path, content in zip(temporary, contents, strict=True):
        try:
            torch.save(content, path)
        except RuntimeError as error:  # torch's writer does not raise OSError
            path.unlink(missing_ok=True)
            raise UserError(f"cannot write the checkpoint {path}: is the disk full?") from error
    for path in temporary:
        path.replace(path.with_name(CHECKPOINT))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Attributes:
        path: Its file.
        content: As `checkpoint` made it.
    """

    path: Path
    content: dict[str, Any]

    @contextmanager
    def used(self) -> Iterator[dict[str, Any]]:
        """The content; what fails inside because something in it is missing or of another shape is a `UserError`."""
        try:
            yield self.content
        except (RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise _damaged(self.path) from error

    def state(self, device: Device) -> State:
        """How far the training was."""
        with self.used() as saved:
            running = RunningMeans.from_checkpoint(saved["running"], device)
            return State(saved["update"], saved["history"], saved["best"], running)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint in a folder, on the host; None if there is none.

    Raises:
        UserError: it is damaged.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        return Checkpoint(path, torch.load(path, map_location=HOST.torch_device, weights_only=True))
    except (RuntimeError, UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is damaged: delete it and train the network from its beginning")


def remove_checkpoint(folder: Path) -> None:
    """Delete what only a resumed training needs; call it when the result is safe on disk."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
