"""Batches, as losses see them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from kd_asr.distillation.signal import Signal


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

    def share(self, rank: int, size: int) -> Batch:
        """Every `size`-th example, beginning with number `rank`; the shares of ranks 0 to `size` - 1 make up the
        batch."""
        if size == 1:
            return self
        count = len(self.examples)
        labels = torch.arange(len(self.hard_labels)).reshape(count, -1)[rank::size].flatten()
        chosen = self.signal.select(labels)
        return Batch(self.examples[rank::size], self.inputs[rank::size], self.hard_labels[labels], chosen)
