"""What an objective sees of the data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kd_asr.distillation.targets import SoftTargets


@dataclass(frozen=True)
class Batch:
    """Some examples, of speech or of anything else.

    Attributes:
        examples: (batch,) int64 example numbers.
        inputs: (batch, ...) float32.
        hard_labels: (batch,) int64; (batch * labels,) where an example has several labels.
        soft_targets: one for each label, when there is a teacher.
    """

    examples: Tensor
    inputs: Tensor
    hard_labels: Tensor
    soft_targets: SoftTargets | None = None
