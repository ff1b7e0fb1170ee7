"""The fit loop: one model, one set of examples, one objective. It knows neither speech nor distillation."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from kd_asr.device import HOST, Device
from kd_asr.distillation.objectives import Objective, objective_at, tap_losses
from kd_asr.errors import UserError
from kd_asr.training.checkpoints import (
    Checkpoint,
    State,
    checkpoint,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoints,
)
from kd_asr.training.distributed import distribute, training_group
from kd_asr.training.examples import Examples, batches, batches_per_epoch
from kd_asr.training.history import LiveHistory, write_history
from kd_asr.training.identity import differing, identity_of
from kd_asr.training.schedule import learning_rate
from kd_asr.training.settings import TrainSettings
from kd_asr.training.step import new_optimiser, set_rate, step


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


@dataclass(frozen=True)
class Pace:
    """Batches and updates of a training, and when it is measured.

    Attributes:
        batch_size: examples of a batch.
        labels: of a batch.
        pass_updates: updates of a pass over the examples.
        epoch_updates: updates of an epoch, by which budget and history go.
        updates: of the whole training.
        validate_at: updates after which to measure; None: after every epoch.
    """

    batch_size: int
    labels: int
    pass_updates: int
    epoch_updates: int
    updates: int
    validate_at: Collection[int] | None

    @classmethod
    def of(
        cls,
        examples: Examples,
        settings: TrainSettings,
        *,
        updates: int | None = None,
        validate_at: Collection[int] | None = None,
        epoch_updates: int | None = None,
    ) -> Pace:
        """The pace of a training, from the arguments of `fit`."""
        per_example = examples.labels_per_example
        batch_size = min(max(1, settings.batch_frames // per_example), len(examples))
        pass_updates = batches_per_epoch(len(examples), batch_size)
        epoch_updates = epoch_updates or pass_updates
        updates = updates or epoch_updates * settings.epochs
        return cls(batch_size, batch_size * per_example, pass_updates, epoch_updates, updates, validate_at)

    def rate(self, update: int, settings: TrainSettings) -> float:
        """Learning rate of an update, counted from 0."""
        return learning_rate(update, updates=self.updates, peak=settings.peak_learning_rate, warmup=settings.warmup)

    def validates_after(self, update: int) -> bool:
        """Whether the model is validated after so many updates."""
        due = update % self.epoch_updates == 0 if self.validate_at is None else update in self.validate_at
        return due or update == self.updates

    def noted(self, update: int) -> bool:
        """Whether there is a line of history after so many updates."""
        return self.validates_after(update) or update % max(1, self.epoch_updates // 10) == 0


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
    guarded: bool = False,
) -> FitResult:
    """Train `model` in place; at the end it holds the weights that were best on dev, or the last ones without dev.

    After every epoch, or the updates `validate_at`, and at the end the model is validated; the weights with the highest
    dev accuracy are kept (early stopping that spends the whole budget, so that compared systems cost the same). A
    checkpoint in `folder` is written every `settings.checkpoint_seconds` and after every validation; called again with
    the same arguments, an interrupted training goes on from it, and on the same kind of device ends with the same bits;
    with others it is refused. The checkpoint is removed at the end.
    `history.jsonl` has one line per validation and some in between, each as soon as it is complete. Inside
    `training.distributed.together` all ranks train the network, and rank 0 alone measures and writes.

    Args:
        model: maps inputs to (batch, classes) logits, one row for each label. With a loss on middle layers, a network
            in `networks.adapted.Adapted` with the loss's adapter.
        examples: to learn from; with a teacher if the objective wants soft targets.
        objective: to minimise.
        settings: budget and optimiser.
        seed: of the order of the examples and of dropout.
        device: where the model is trained. It comes and goes on the host; `validate` and `after_update` see it on the
            device.
        folder: for checkpoint and history; made if it is not there.
        validate: measures the model on dev; None where no example is left for that.
        advance: is told the number of labels done, those of a checkpoint at once.
        after_update: constrains the weights after each update, see `training.constraints`.
        updates: budget in updates instead of `settings.epochs`.
        validate_at: numbers of updates after which to measure, instead of every epoch's.
        epoch_updates: updates of an epoch instead of a pass over the examples: budget, validation, history and result
            go by it, while the order of the examples goes by passes.
        guarded: whether the caller sees to it that the folder is of this training alone, and removes the checkpoint
            when the result is safe on disk (`checkpoints.remove_checkpoint`).

    Raises:
        UserError: the folder has a checkpoint of another training, or the objective stopped being finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pace = Pace.of(examples, settings, updates=updates, validate_at=validate_at, epoch_updates=epoch_updates)
    ranks = training_group()
    leads = ranks.rank == 0
    identity: dict[str, str] = {}
    if not guarded:
        decides = replace(settings, checkpoint_seconds=0.0)
        measured_at = (validate is not None, sorted(validate_at or ()), epoch_updates)
        identity = identity_of(
            seed=seed, settings=decides, model=model, examples=examples, objective=objective, constraint=after_update,
            updates=updates, validation=measured_at,
        )  # fmt: skip
    device.put(model)
    if examples.teacher is not None:
        examples.teacher.put(device)
    optimiser = new_optimiser(model, settings)
    state = _restore(read_checkpoint(folder), model, optimiser, device, seed=seed, identity=identity)
    state = state or _begin(device, seed)
    if not leads:
        device.seed(seed + 1_000_003 * (state.update * ranks.size + ranks.rank))
    called = distribute(model, pace.batch_size)
    share, weight = ranks.share(pace.batch_size), ranks.weight(pace.batch_size)
    live = LiveHistory(folder, state.history) if leads else None
    advance(state.update * pace.labels)
    bf16 = device.uses_bf16(settings.precision)
    taps = {loss.student_tap for loss in tap_losses(objective).values()}
    saved = time.monotonic()
    spent = 0.0
    done_here = 0
    while state.update < pace.updates:
        epoch, skip = divmod(state.update, pace.pass_updates)
        started = time.monotonic()
        for batch in batches(examples, batch_size=pace.batch_size, seed=seed, epoch=epoch, skip=skip, share=share):
            rate = pace.rate(state.update, settings)
            set_rate(optimiser, rate)
            value = step(
                called,
                device.put(batch),
                objective_at(objective, state.update / max(1, pace.updates - 1)),
                optimiser,
                teacher=examples.teacher,
                taps=taps,
                device=device,
                bf16=bf16,
                weight=weight,
            )
            after_update(model)
            state.running.add(value, weight)
            state.update += 1
            done_here += 1
            advance(pace.labels)
            measured = pace.validates_after(state.update)
            if pace.noted(state.update):
                note(state, pace, rate, settings)
            if measured and validate is not None and leads:
                spent += time.monotonic() - started
                validated(model, state, validate, pace)
                started = time.monotonic()
            if live is not None and pace.noted(state.update):
                live.follow(state.history)
            if leads and (measured or time.monotonic() - saved > settings.checkpoint_seconds):
                written = checkpoint(model, optimiser.state_dict(), device.random_state(), state)
                write_checkpoints([folder], [{**written, "identity": identity}])
                saved = time.monotonic()
            if state.update == pace.updates:
                break
        spent += time.monotonic() - started
    speed = done_here * pace.labels / spent if spent else 0.0
    result = finished(model, state, pace, speed, folder if leads else None)
    if leads and not guarded:
        remove_checkpoint(folder)
    return result


def finished(model: nn.Module, state: State, pace: Pace, examples_per_second: float, folder: Path | None) -> FitResult:
    """What `fit` returns; the model comes back to the host with the weights to keep, and the history into `folder`."""
    HOST.put(model)
    last_weights = copy.deepcopy(model.state_dict())
    if state.best is not None:
        model.load_state_dict(state.best["weights"])
    if folder is not None:
        write_history(folder, state.history)
    return FitResult(
        updates=state.update,
        best=Validation(state.best["accuracy"], state.best["cross_entropy"]) if state.best else None,
        best_epoch=state.best["epoch"] if state.best else pace.updates / pace.epoch_updates,
        last_weights=last_weights,
        examples_per_second=examples_per_second,
    )


def _begin(device: Device, seed: int) -> State:
    device.seed(seed)
    return State()


def note(state: State, pace: Pace, rate: float, settings: TrainSettings, *, who: str = "") -> None:
    """Add a line of history: means since the line before, and room for what is measured on dev.

    Raises:
        UserError: the objective is not finite; begins with `who`.
    """
    total, losses = state.running.take()
    state.history.append(
        {
            "update": state.update,
            "epoch": round(state.update / pace.epoch_updates, 4),
            "train_loss": total,
            "learning_rate": rate,
            "losses": losses,
            "dev_accuracy": None,
            "dev_cross_entropy": None,
        }
    )
    if not math.isfinite(total):
        bad = ", ".join(name for name, value in losses.items() if not math.isfinite(value)) or "total"
        lower = f"lower train.learning_rate (now {settings.learning_rate})"
        if len(state.history) > 1:
            raise UserError(f"{who}training diverged at update {state.update} ({bad} loss): {lower}")
        raise UserError(
            f"{who}the {bad} loss is not finite at update {state.update}, the first that was measured: look for "
            f"inputs, or outputs of the teacher, that are not finite, or {lower}"
        )


def validated(model: nn.Module, state: State, validate: Callable[[nn.Module], Validation], pace: Pace) -> None:
    """Measure the model for the last line of history, and keep its weights if they are the best."""
    validation = validate(model)
    state.history[-1]["dev_accuracy"] = validation.accuracy
    state.history[-1]["dev_cross_entropy"] = validation.cross_entropy
    if validation.train_accuracy is not None:
        state.history[-1]["train_accuracy"] = validation.train_accuracy
    if state.best is None or validation.accuracy > state.best["accuracy"]:
        state.best = {
            "epoch": state.update / pace.epoch_updates,
            "accuracy": validation.accuracy,
            "cross_entropy": validation.cross_entropy,
            "weights": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        }


def _restore(
    saved: Checkpoint | None,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    device: Device,
    *,
    seed: int,
    identity: Mapping[str, str],
) -> State | None:
    """The state of an interrupted training, with model, optimiser and random generator set to it.

    Raises:
        UserError: the checkpoint is damaged, or that of another training.
    """
    if saved is None:
        return None
    with saved.used() as content:
        others = differing(content.get("identity", {}), identity)
        if others:
            raise UserError(
                f"{saved.path} is of another training (other {', '.join(others)}): give this one a folder of its own, "
                "or delete the checkpoint"
            )
        model.load_state_dict(content["model"])
        optimiser.load_state_dict(content["optimiser"])
        device.set_random_state(content["random_state"], otherwise=seed + content["update"])
    return saved.state(device)
