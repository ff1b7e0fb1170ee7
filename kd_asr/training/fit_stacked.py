"""Several trainings as one: networks of one architecture that learn from the same examples, each in an order, with an
objective and with random numbers of its own.

Each network becomes what `fit` would make of it, but for rounding: the same weights to begin with, the same batches in
the same order, the same masks and dropped units (of inputs that lie on a graphics card others of the same distribution,
drawn for all networks at once). Each has a checkpoint in its own folder, with which `fit` can go on as well, and which
does not know of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kd_asr.device import Device
from kd_asr.distillation.batch import Batch, joined
from kd_asr.distillation.objectives import Objective
from kd_asr.distillation.teachers.base import Teacher
from kd_asr.networks.base import Network
from kd_asr.networks.stack import Stack
from kd_asr.streams import Stream, drawing, drawing_as_one
from kd_asr.training.checkpoints import Checkpoint, State, checkpoint, read_checkpoint, write_checkpoints
from kd_asr.training.examples import Examples, batch_numbers, batches
from kd_asr.training.fit import FitResult, Pace, Validation, finished, note, validated
from kd_asr.training.history import LiveHistory
from kd_asr.training.settings import TrainSettings
from kd_asr.training.step import new_optimiser, set_rate, stacked_step


@dataclass(frozen=True)
class Member:
    """One of the trainings.

    Attributes:
        name: Of its training, for messages.
        network: To be trained in place.
        objective: To minimise.
        seed: Of the order of the examples and of random numbers.
        folder: For checkpoint and history.
    """

    name: str
    network: Network
    objective: Objective
    seed: int
    folder: Path


def fit_stacked(
    members: Sequence[Member],
    examples: Examples,
    settings: TrainSettings,
    *,
    device: Device,
    validate: Callable[[nn.Module], Validation] | None,
    advance: Callable[[float], None] = lambda amount: None,
    after_update: Callable[[nn.Module], None] = lambda model: None,
    updates: int | None = None,
    validate_at: Collection[int] | None = None,
    epoch_updates: int | None = None,
) -> list[FitResult]:
    """`fit` each of the members, all at once, with what they share.

    Checkpoints of all members are written together. If that was interrupted between two of them, those that are behind
    go on first, by themselves.

    Returns:
        the results in the order of the members.

    Raises:
        UserError: an objective stopped being finite; names the training.
    """
    pace = Pace.of(examples, settings, updates=updates, validate_at=validate_at, epoch_updates=epoch_updates)
    here = device.put(examples) if device.can_hold(examples) else None
    saved = [read_checkpoint(member.folder) for member in members]
    reached = [one.state(device).update if one else 0 for one in saved]
    results: dict[int, FitResult] = {}
    for update in sorted(set(reached)):
        chosen = [number for number, own in enumerate(reached) if own == update]
        run = _Run([members[number] for number in chosen], pace, settings, device)
        run.begin([saved[number] for number in chosen])
        source = _Resident(run, here, after_update) if here else _Gathered(run, examples, after_update)
        if source.examples.teacher is not None:
            source.examples.teacher.put(device)
        run.train(source, validate, advance)
        results |= dict(zip(chosen, run.results(), strict=True))
    return [results[number] for number in range(len(members))]


class _Run:
    """Members that are at the same update."""

    def __init__(self, members: Sequence[Member], pace: Pace, settings: TrainSettings, device: Device) -> None:
        self.members = members
        self.pace = pace
        self.settings = settings
        self.device = device
        self.stack = Stack([device.put(member.network) for member in members])
        self.optimiser = new_optimiser(self.stack, settings, axes=1, recorded=device.records)
        self.streams = [Stream(device, member.seed) for member in members]
        self.states = [State() for _ in members]
        self.bf16 = device.uses_bf16(settings.precision)
        self._spent, self._done_here = 0.0, 0

    @property
    def update(self) -> int:
        """Updates made so far."""
        return self.states[0].update

    def begin(self, saved: Sequence[Checkpoint | None]) -> None:
        """Go on from checkpoints, if there are some."""
        parts = []
        for number, one in enumerate(saved):
            if one is None:
                return
            self.states[number] = one.state(self.device)
            with one.used() as content:
                self.members[number].network.load_state_dict(content["model"])
                otherwise = self.members[number].seed + content["update"]
                self.streams[number].set_random_state(content["random_state"], otherwise=otherwise)
                parts.append(content["optimiser"]["state"])
        with saved[0].used():  # type: ignore[union-attr]
            groups = self.optimiser.state_dict()["param_groups"]
            self.optimiser.load_state_dict({"state": _stacked_state(parts), "param_groups": groups})

    def train(
        self,
        source: _Source,
        validate: Callable[[nn.Module], Validation] | None,
        advance: Callable[[float], None],
    ) -> None:
        """Make all updates that are left."""
        pace, labels = self.pace, self.pace.labels * len(self.members)
        live = [LiveHistory(one.folder, state.history) for one, state in zip(self.members, self.states, strict=True)]
        advance(self.update * labels)
        saved = time.monotonic()
        while self.update < pace.updates:
            started = time.monotonic()
            for make in source.updates(*divmod(self.update, pace.pass_updates)):
                rate = pace.rate(self.update, self.settings)
                set_rate(self.optimiser, rate)
                make()
                for state in self.states:
                    state.running.count += 1
                    state.update += 1
                self._done_here += 1
                advance(labels)
                measured = pace.validates_after(self.update)
                if pace.noted(self.update):
                    for member, state in zip(self.members, self.states, strict=True):
                        note(state, pace, rate, self.settings, who=f"{member.name}: ")
                if measured and validate is not None:
                    self._spent += time.monotonic() - started
                    for member, state in zip(self.members, self.states, strict=True):
                        validated(member.network, state, validate, pace)
                    started = time.monotonic()
                if pace.noted(self.update):
                    for own, state in zip(live, self.states, strict=True):
                        own.follow(state.history)
                if measured or time.monotonic() - saved > self.settings.checkpoint_seconds:
                    write_checkpoints([member.folder for member in self.members], self._checkpoints(rate))
                    saved = time.monotonic()
                if self.update == pace.updates:
                    break
            self._spent += time.monotonic() - started

    def made(self, batch: Batch, teacher: Teacher | None, after_update: Callable[[nn.Module], None]) -> None:
        """Make an update of all networks with their batches, joined; nothing in it waits for the device."""
        objectives = [member.objective for member in self.members]
        with drawing_as_one(self.streams):
            values = stacked_step(
                self.stack,
                batch,
                objectives,
                self.optimiser,
                teacher=teacher,
                device=self.device,
                bf16=self.bf16,
            )
        after_update(self.stack.stacked)
        for state, value in zip(self.states, values, strict=True):
            state.running.accumulate(value)

    def results(self) -> list[FitResult]:
        """What `fit` returns, for each."""
        self.stack.unstack()
        speed = self._done_here * self.pace.labels / self._spent if self._spent else 0.0
        each = zip(self.members, self.states, strict=True)
        return [finished(member.network, state, self.pace, speed, member.folder) for member, state in each]

    def _checkpoints(self, rate: float) -> Iterator[dict[str, Any]]:
        optimiser = self.optimiser.state_dict()
        # As `fit` has them, whatever a recorded update needs.
        groups = [{**group, "lr": rate} for group in optimiser["param_groups"]]
        groups = [group | {"capturable": False} if "capturable" in group else group for group in groups]
        for number, (member, state, stream) in enumerate(zip(self.members, self.states, self.streams, strict=True)):
            own = {"state": _state_of(optimiser["state"], number), "param_groups": groups}
            content = checkpoint(member.network, own, stream.random_state(), state)
            yield {**content, "model": {name: tensor.clone() for name, tensor in content["model"].items()}}


class _Source(Protocol):
    """Where the batches of an update come from."""

    @property
    def examples(self) -> Examples:
        """All examples, on the host or on the device."""
        ...

    def updates(self, epoch: int, skip: int) -> Iterator[Callable[[], None]]:
        """What makes each update of an epoch, from number `skip` on."""
        ...


@dataclass(frozen=True)
class _Gathered:
    """Batches gathered on the host, while the device is at work on those before."""

    run: _Run
    examples: Examples
    after_update: Callable[[nn.Module], None]

    def updates(self, epoch: int, skip: int) -> Iterator[Callable[[], None]]:
        """What makes each update of an epoch, from number `skip` on."""
        run, size = self.run, self.run.pace.batch_size
        orders = [
            batches(self.examples, batch_size=size, seed=member.seed, epoch=epoch, skip=skip) for member in run.members
        ]
        while True:
            gathered = []
            for stream, order in zip(run.streams, orders, strict=True):
                with drawing(stream):
                    batch = next(order, None)
                if batch is None:
                    return
                gathered.append(run.device.put(batch))
            yield partial(run.made, joined(gathered), self.examples.teacher, self.after_update)


class _Resident:
    """Batches gathered where the examples lie with the networks; the host begins updates and does nothing else."""

    def __init__(self, run: _Run, examples: Examples, after_update: Callable[[nn.Module], None]) -> None:
        self._run = run
        self.examples = examples
        self._after_update = after_update
        self._order: Tensor | None = None
        self._place = torch.zeros(1, dtype=torch.int64, device=run.device.torch_device)
        self._update = run.device.repeated(self._one_update, run.streams)

    def updates(self, epoch: int, skip: int) -> Iterator[Callable[[], None]]:
        """What makes each update of an epoch, from number `skip` on."""
        run = self._run
        order = run.device.put(torch.stack([self._order_of(member.seed, epoch) for member in run.members]))
        if self._order is None:
            self._order = order
        else:
            self._order.copy_(order)  # recorded updates read from where the first order lies
        self._place.fill_(skip)
        for _ in range(skip, order.shape[1]):
            yield self._update

    def _order_of(self, seed: int, epoch: int) -> Tensor:
        """(updates, batch) int64 numbers of the examples of an epoch."""
        pools = batch_numbers(
            len(self.examples),
            batch_size=self._run.pace.batch_size,
            seed=seed,
            epoch=epoch,
            mixture=self.examples.mixture,
        )
        return torch.stack([numbers for pool in pools for numbers in pool])

    def _one_update(self) -> None:
        assert self._order is not None
        numbers = self._order.index_select(1, self._place).flatten()
        with drawing(self._run.streams[0]):  # what varies inputs is drawn once, for all of them
            batch = self.examples.batch(numbers)
        self._run.made(batch, self.examples.teacher, self._after_update)
        self._place.add_(1)


def _stacked_state(parts: Sequence[Mapping[int, Mapping[str, Any]]]) -> dict[int, dict[str, Any]]:
    """State of a stack's optimiser, by parameter, from those of optimisers of single networks at the same update."""
    return {
        index: {
            key: value if _is_shared(key, value) else torch.stack([part[index][key] for part in parts])
            for key, value in own.items()
        }
        for index, own in parts[0].items()
    }


def _state_of(state: Mapping[int, Mapping[str, Any]], number: int) -> dict[int, dict[str, Any]]:
    """State of the optimiser of one network of a stack."""
    return {
        index: {key: value if _is_shared(key, value) else value[number].clone() for key, value in own.items()}
        for index, own in state.items()
    }


def _is_shared(key: str, value: object) -> bool:
    """Whether a number of an optimiser's state is the same for all networks of a stack."""
    return key == "step" or not isinstance(value, Tensor)
