"""The fit loop: one model, one set of examples, one objective. It knows neither speech nor distillation."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from kd_asr.device import HOST, Device
from kd_asr.distillation.objectives import Objective
from kd_asr.errors import UserError
from kd_asr.training.distributed import distribute, training_group
from kd_asr.training.examples import Examples, batches, batches_per_epoch
from kd_asr.training.schedule import learning_rate
from kd_asr.training.settings import TrainSettings
from kd_asr.training.step import RunningMeans, new_optimiser, step

CHECKPOINT = "checkpoint.pt"
HISTORY = "history.jsonl"


@dataclass(frozen=True)
class Validation:
    """What is measured between updates.

    Attributes:
        accuracy: on dev, 0..1; decides which weights are kept.
        cross_entropy: on dev, nats.
        train_accuracy: of the same weights on training examples, for curves; None where it is not measured.
    """

    accuracy: float
    cross_entropy: float
    train_accuracy: float | None = None


@dataclass(frozen=True)
class FitResult:
    """How a training went.

    Attributes:
        updates: made in all, this run's and those of interrupted ones.
        best: measured on dev for the weights that were kept; None without a dev set.
        best_epoch: epochs after which they were reached.
        last_weights: state of the model after the last update, which early stopping may have left behind.
        examples_per_second: of this run, without validation; where an example has several labels, these are counted.
    """

    updates: int
    best: Validation | None
    best_epoch: float
    last_weights: dict[str, Tensor]
    examples_per_second: float


@dataclass
class _State:
    """Everything that a resumed training needs beside model and optimiser."""

    update: int
    history: list[dict[str, Any]]
    best: dict[str, Any] | None  # {"epoch", "accuracy", "cross_entropy", "weights"}
    running: RunningMeans


def fit(
    model: nn.Module,
    examples: Examples,
    objective: Objective,
    settings: TrainSettings,
    *,
    seed: int,
    device: Device,
    folder: Path,
    validate: Callable[[nn.Module], Validation] | None,
    advance: Callable[[float], None] = lambda amount: None,
    after_update: Callable[[nn.Module], None] = lambda model: None,
    updates: int | None = None,
    validate_at: Collection[int] | None = None,
    epoch_updates: int | None = None,
) -> FitResult:
    """Train `model` in place; at the end it holds the weights that were best on dev, or the last ones without dev.

    After every epoch, or the updates `validate_at`, and at the end the model is validated; the weights with the highest
    dev accuracy are kept (early stopping that spends the whole budget, so that compared systems cost the same). A
    checkpoint in `folder` is written every `settings.checkpoint_seconds` and after every validation; called again with
    the same arguments, an interrupted training goes on from it, and on the same kind of device ends with the same bits.
    `history.jsonl` has one line per validation and some in between. Inside `training.distributed.together` all ranks
    train the network, and rank 0 alone measures and writes.

    Args:
        model: maps inputs to (batch, classes) logits, one row for each label.
        examples: to learn from; with a teacher if the objective wants soft targets.
        objective: to minimise.
        settings: budget and optimiser.
        seed: of the order of the examples and of dropout.
        device: where the model is trained. It comes and goes on the host; `validate` and `after_update` see it on the
            device.
        folder: for checkpoint and history.
        validate: measures the model on dev; None where no example is left for that.
        advance: is told the number of labels done, those of a checkpoint at once.
        after_update: constrains the weights after each update, see `training.constraints`.
        updates: budget in updates instead of `settings.epochs`.
        validate_at: numbers of updates after which to measure, instead of every epoch's.
        epoch_updates: updates of an epoch instead of a pass over the examples: budget, validation, history and result
            go by it, while the order of the examples goes by passes.

    Raises:
        UserError: the objective stopped being finite.
    """
    per_example = examples.labels_per_example
    batch_size = min(max(1, settings.batch_frames // per_example), len(examples))
    per_epoch = batches_per_epoch(len(examples), batch_size)
    epoch_updates = epoch_updates or per_epoch
    updates = updates or epoch_updates * settings.epochs
    batch_labels = batch_size * per_example
    ranks = training_group()
    leads = ranks.rank == 0
    device.put(model)
    if examples.teacher is not None:
        examples.teacher.put(device)
    optimiser = new_optimiser(model, settings)
    state = _restore(folder, model, optimiser, device, seed) or _begin(device, seed)
    if not leads:
        device.seed(seed + 1_000_003 * (state.update * ranks.size + ranks.rank))
    called = distribute(model)
    advance(state.update * batch_labels)
    bf16 = device.uses_bf16(settings.precision)
    saved = time.monotonic()
    spent = 0.0
    done_here = 0
    while state.update < updates:
        epoch, skip = divmod(state.update, per_epoch)
        started = time.monotonic()
        for batch in batches(examples, batch_size=batch_size, seed=seed, epoch=epoch, skip=skip):
            rate = learning_rate(state.update, updates=updates, peak=settings.learning_rate, warmup=settings.warmup)
            for group in optimiser.param_groups:
                group["lr"] = rate
            share = device.put(batch.share(ranks.rank, ranks.size))
            weight = len(share.examples) * ranks.size / len(batch.examples)  # shares may be unequal, by one example
            value = step(
                called,
                share,
                objective,
                optimiser,
                teacher=examples.teacher,
                device=device,
                bf16=bf16,
                weight=weight,
            )
            after_update(model)
            state.running.add(value, weight)
            state.update += 1
            done_here += 1
            advance(batch_labels)
            due = state.update % epoch_updates == 0 if validate_at is None else state.update in validate_at
            measured = due or state.update == updates
            if measured or state.update % max(1, epoch_updates // 10) == 0:
                state.history.append(_line(state, state.update / epoch_updates, rate))
                if not math.isfinite(state.history[-1]["train_loss"]):
                    raise UserError(
                        f"training diverged at update {state.update} (loss {state.history[-1]['train_loss']}): lower "
                        f"train.learning_rate (now {settings.learning_rate})"
                    )
            if measured and validate is not None and leads:
                spent += time.monotonic() - started
                _validate(model, state, validate, state.update / epoch_updates)
                started = time.monotonic()
            if leads and (measured or time.monotonic() - saved > settings.checkpoint_seconds):
                _save(folder, model, optimiser, device, state)
                saved = time.monotonic()
            if state.update == updates:
                break
        spent += time.monotonic() - started
    HOST.put(model)
    last_weights = copy.deepcopy(model.state_dict())
    if state.best is not None:
        model.load_state_dict(state.best["weights"])
    if leads:
        with (folder / HISTORY).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in state.history)
    return FitResult(
        updates=state.update,
        best=Validation(state.best["accuracy"], state.best["cross_entropy"]) if state.best else None,
        best_epoch=state.best["epoch"] if state.best else updates / epoch_updates,
        last_weights=last_weights,
        examples_per_second=done_here * batch_labels / spent if spent else 0.0,
    )


def remove_checkpoint(folder: Path) -> None:
    """Delete what only a resumed training needs; call it when the result is safe on disk."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _begin(device: Device, seed: int) -> _State:
    device.seed(seed)
    return _State(update=0, history=[], best=None, running=RunningMeans())


def _line(state: _State, epoch: float, rate: float) -> dict[str, Any]:
    """A line of history: means since the line before, and room for what is measured on dev."""
    total, losses = state.running.take()
    return {
        "update": state.update,
        "epoch": round(epoch, 4),
        "train_loss": total,
        "learning_rate": rate,
        "losses": losses,
        "dev_accuracy": None,
        "dev_cross_entropy": None,
    }


def _validate(model: nn.Module, state: _State, validate: Callable[[nn.Module], Validation], epoch: float) -> None:
    validation = validate(model)
    state.history[-1]["dev_accuracy"] = validation.accuracy
    state.history[-1]["dev_cross_entropy"] = validation.cross_entropy
    if validation.train_accuracy is not None:
        state.history[-1]["train_accuracy"] = validation.train_accuracy
    if state.best is None or validation.accuracy > state.best["accuracy"]:
        state.best = {
            "epoch": epoch,
            "accuracy": validation.accuracy,
            "cross_entropy": validation.cross_entropy,
            "weights": copy.deepcopy(model.state_dict()),
        }


def _save(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, device: Device, state: _State) -> None:
    temporary = folder / f".{CHECKPOINT}.tmp"
    content = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "random_state": device.random_state(),
        "update": state.update,
        "history": state.history,
        "best": state.best,
        "running": state.running.to_checkpoint(),
    }
    try:
        torch.save(content, temporary)
    except RuntimeError as error:  # torch's writer does not raise OSError
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write the checkpoint {temporary}: is the disk full?") from error
    temporary.replace(folder / CHECKPOINT)


def _restore(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, device: Device, seed: int
) -> _State | None:
    """The state of an interrupted training, with model, optimiser and random generator set to it."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location=HOST.torch_device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        device.set_random_state(saved["random_state"], otherwise=seed + saved["update"])
        running = RunningMeans.from_checkpoint(saved["running"], device)
        return _State(saved["update"], saved["history"], saved["best"], running)
    except (RuntimeError, UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: delete it and train the network from its beginning") from error
