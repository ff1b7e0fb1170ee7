"""Examples, batches and their order. Nothing here knows what an example is: a frame of speech, a digit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from kd_asr.device import HOST, Movable
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal
from kd_asr.distillation.teachers.base import Teacher
from kd_asr.features.inputs import Indexable, Rows

# Examples are shuffled in pools of this many, made of runs of `_RUN` neighbours: with more data than memory a pool
# still stays in the page cache, and with less it is a plain shuffle of everything.
_POOL = 4_000_000
_RUN = 1000
# Batches whose soft targets are read together: what a step needs besides its network is mostly overhead of small calls.
_AT_ONCE = 16
# Between the seeds of the orders of two kinds of examples.
_OTHER_KIND = 7919


@dataclass(frozen=True)
class Mixture:
    """Two kinds of examples in a given proportion, whatever their numbers.

    Attributes:
        first: Number of examples of the first kind, which precede those of the second; there is one of each at least.
        share: Share of the first kind in every batch, 0 to 1; where it is no whole number of examples, on average.
    """

    first: int
    share: float

    def taken(self, batches: int, size: int) -> int:
        """Examples of the first kind in so many batches."""
        return math.floor(batches * size * self.share + 0.5)


@dataclass(frozen=True)
class Examples:
    """A set of examples to learn from.

    Attributes:
        inputs: gathered by example number.
        hard_labels: (examples,) integers by example; `losses.UNLABELLED` where there is none. Or (examples, labels)
            where an example has several, as a stretch of speech has: the network gives as many outputs for it.
        teacher: source of soft targets, one for each label; None for hard labels only.
        numbers: int64, of the shape of `hard_labels`, the number by which the teacher knows each label; None:
            label n is number n.
        mixture: proportion in which two kinds of examples are drawn; None: all examples are drawn alike.
    """

    inputs: Indexable
    hard_labels: Rows
    teacher: Teacher | None = None
    numbers: Rows | None = None
    mixture: Mixture | None = None

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.hard_labels):
            raise ValueError(f"{len(self.inputs)} inputs, but {len(self.hard_labels)} labels")
        if self.numbers is not None and tuple(self.numbers.shape) != tuple(self.hard_labels.shape):
            raise ValueError(f"numbers of shape {tuple(self.numbers.shape)} for {tuple(self.hard_labels.shape)} labels")

    def __len__(self) -> int:
        return len(self.hard_labels)

    @property
    def labels_per_example(self) -> int:
        """1, or the frames of a stretch of speech."""
        return self.hard_labels.shape[1] if len(self.hard_labels.shape) > 1 else 1

    def batch(self, examples: Tensor) -> Batch:
        """Gather the examples of (batch,) int64 numbers, with what the teacher reads about them."""
        return self._batch(examples, self._read(examples))

    def _read(self, examples: Tensor) -> Signal:
        if self.teacher is None:
            return Signal()
        if self.numbers is not None:
            return self.teacher.read(self.numbers[examples].flatten())
        count = self.labels_per_example
        if count == 1:
            return self.teacher.read(examples)
        return self.teacher.read((examples[:, None] * count + torch.arange(count, device=examples.device)).flatten())

    def _batch(self, examples: Tensor, signal: Signal) -> Batch:
        return Batch(examples, self.inputs[examples], self.hard_labels[examples].long().flatten(), signal)

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        """`batch` of each, one after the other; the teacher reads about all of them at once."""
        signal = self._read(torch.cat(list(parts)))
        first = 0
        for part in parts:
            count = len(part) * self.labels_per_example
            yield self._batch(part, signal.select(slice(first, first + count)))
            first += count

    def select(self, numbers: Tensor) -> Examples:
        """The examples of these (examples,) int64 numbers, numbered anew from 0, with what the teacher says of them."""
        inputs, hard_labels = _Selected(self.inputs, numbers), self.hard_labels[numbers]
        if self.teacher is None:
            return Examples(inputs, hard_labels)
        known = self.numbers
        if known is None:
            known = torch.arange(math.prod(self.hard_labels.shape)).reshape(*self.hard_labels.shape)
        return Examples(inputs, hard_labels, self.teacher, known[numbers])


@dataclass(frozen=True)
class JoinedInputs(Movable):
    """The inputs of two sets as one: those of `first`, then those of `second`, of the same dimension."""

    first: Indexable
    second: Indexable

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, examples: Tensor) -> Tensor:
        if examples.device != HOST.torch_device:
            return self._without_counting(examples)
        in_first = examples < len(self.first)
        first, second = self.first[examples[in_first]], self.second[examples[~in_first] - len(self.first)]
        # Back into the order that was asked for.
        place = torch.empty(len(examples), dtype=torch.int64)
        place[in_first], place[~in_first] = torch.arange(len(first)), torch.arange(len(first), len(examples))
        return torch.cat([first, second])[place]

    def _without_counting(self, examples: Tensor) -> Tensor:
        """Both sets gathered in full and one of the two kept: how many are of each would have to be asked for."""
        in_first = examples < len(self.first)
        first = self.first[examples.clamp_max(len(self.first) - 1)]
        second = self.second[(examples - len(self.first)).clamp_min(0)]
        return torch.where(in_first.view(-1, *(1,) * (first.ndim - 1)), first, second)


@dataclass(frozen=True)
class _Selected(Movable):
    """Some of the inputs, numbered anew."""

    inputs: Indexable
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, examples: Tensor) -> Tensor:
        return self.inputs[self.numbers[examples]]


def epoch_order(
    count: int, *, seed: int, epoch: int, pool: int = _POOL, run: int = _RUN
) -> Iterator[Tensor]:
    """The order of the examples in an epoch, pool by pool: (examples,) int64 each, a function of seed and epoch alone.

    Args:
        count: number of examples.
        seed: of the network that is trained.
        epoch: counted from 0.
        pool: examples shuffled together; `count` or more gives a uniformly random permutation.
        run: neighbours that go into the same pool; `pool` is a multiple of it.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    if count <= pool:
        yield torch.randperm(count, generator=generator)
        return
    for runs in torch.split(torch.randperm(-(-count // run), generator=generator), pool // run):
        part = (runs[:, None] * run + torch.arange(run)).reshape(-1)
        part = part[part < count]
        yield part[torch.randperm(len(part), generator=generator)]


_WHOLE = slice(None)


def batches(
    examples: Examples, *, batch_size: int, seed: int, epoch: int, skip: int = 0, share: slice = _WHOLE
) -> Iterator[Batch]:
    """The full batches of an epoch from number `skip` on; a last batch that is not full is left out.

    Of every batch only `share` is gathered.
    """
    wanted_by_pool = batch_numbers(
        len(examples), batch_size=batch_size, seed=seed, epoch=epoch, skip=skip, mixture=examples.mixture
    )
    for wanted in wanted_by_pool:
        for group in range(0, len(wanted), _AT_ONCE):
            yield from examples.batches([part[share] for part in wanted[group : group + _AT_ONCE]])


def batch_numbers(
    count: int, *, batch_size: int, seed: int, epoch: int, skip: int = 0, mixture: Mixture | None = None
) -> Iterator[list[Tensor]]:
    """Numbers of the examples in the batches of `batches`, (batch,) int64 each, in lists: pool by pool, or some of a
    mixture's at a time."""
    size = min(batch_size, count)
    if mixture is not None:
        drawn = _mixed(mixture, count, size, seed=seed, epoch=epoch, skip=skip)
        while together := list(islice(drawn, _AT_ONCE)):
            yield together
        return
    number, left = 0, torch.zeros(0, dtype=torch.int64)
    for pool in epoch_order(count, seed=seed, epoch=epoch):
        part = torch.cat([left, pool])
        left = part[len(part) // size * size :]  # goes on with the next pool
        full = [part[first : first + size] for first in range(0, len(part) - len(left), size)]
        yield full[max(0, skip - number) :]
        number += len(full)


def _mixed(mixture: Mixture, count: int, size: int, *, seed: int, epoch: int, skip: int) -> Iterator[Tensor]:
    """Example numbers of the batches of an epoch from number `skip` on, two kinds in proportion.

    Each kind is drawn in an order of its own, over and over; where it stands follows from the number of the batch.
    """
    per_epoch = batches_per_epoch(count, size)
    begin = epoch * per_epoch + skip
    before = mixture.taken(begin, size)
    first = _Stream(mixture.first, seed=seed, position=before)
    second = _Stream(count - mixture.first, seed=seed + _OTHER_KIND, position=begin * size - before)
    for number in range(begin, (epoch + 1) * per_epoch):
        of_first = mixture.taken(number + 1, size) - mixture.taken(number, size)
        yield torch.cat([first.take(of_first), mixture.first + second.take(size - of_first)])


class _Stream:
    """The numbers 0 to `count` - 1 in `epoch_order`, epoch after epoch without end."""

    def __init__(self, count: int, *, seed: int, position: int) -> None:
        """Begin at a position, counted from the first epoch."""
        self._pools = self._from(count, seed, position)
        self._remaining = torch.zeros(0, dtype=torch.int64)

    @staticmethod
    def _from(count: int, seed: int, position: int) -> Iterator[Tensor]:
        epoch, skip = divmod(position, count)
        while True:
            for pool in epoch_order(count, seed=seed, epoch=epoch):
                yield pool[min(skip, len(pool)) :]
                skip = max(0, skip - len(pool))
            epoch += 1

    def take(self, amount: int) -> Tensor:
        """The next (amount,) int64 numbers."""
        while len(self._remaining) < amount:
            self._remaining = torch.cat([self._remaining, next(self._pools)])
        taken, self._remaining = self._remaining[:amount], self._remaining[amount:]
        return taken


def batches_per_epoch(count: int, batch_size: int) -> int:
    """Full batches among `count` examples; fewer examples than one batch still make one."""
    return max(1, count // batch_size)
