"""Batches, as losses see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kd_asr.distillation.signal import Signal, join_targets


@dataclass(frozen=True)
class Batch:
    """A batch of examples, of speech or of anything else.

    Attributes:
        examples: (batch,) int64 example numbers.
        inputs: (batch, ...) float32.
        hard_labels: (batch,) int64; (batch * labels,) where an example has several labels.
        signal: The teacher's outputs for each label, if there is a teacher.
    """

    examples: Tensor
    inputs: Tensor
    hard_labels: Tensor
    signal: Signal = field(default_factory=Signal)

    def part(self, first: int, last: int, parts: int) -> Batch:
        """Numbers `first` to `last` - 1 of `parts` equal parts, as views."""
        counts = len(self.examples), len(self.hard_labels)
        examples, labels = (slice(first * count // parts, last * count // parts) for count in counts)
        own = self.signal.select(labels)
        return Batch(self.examples[examples], self.inputs[examples], self.hard_labels[labels], own)


def joined(batches: Sequence[Batch]) -> Batch:
    """Some batches as one."""
    signals = [batch.signal for batch in batches]
    targets = [signal.targets for signal in signals if signal.targets is not None]
    members = zip(*(signal.members for signal in signals), strict=True)
    frames = [signal.frames for signal in signals if signal.frames is not None]
    signal = Signal(
        join_targets(targets) if targets else None,
        tuple(map(torch.cat, members)),
        frames=torch.cat(frames) if frames else None,
    )
    return Batch(
        torch.cat([batch.examples for batch in batches]),
        torch.cat([batch.inputs for batch in batches]),
        torch.cat([batch.hard_labels for batch in batches]),
        signal,
    )
