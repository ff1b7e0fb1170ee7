"""Objectives: weighted sums of named losses, each logged by its name, unweighted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses import (
    hard_cross_entropy,
    kl_student_to_teacher,
    kl_teacher_to_student,
    soft_cross_entropy,
    squared_logit_difference,
)
from kd_asr.distillation.soft_and_hard import soft_and_hard_loss
from kd_asr.distillation.targets import SoftTargets


@dataclass(frozen=True)
class ObjectiveValue:
    """The scalar to minimise and its parts.

    Attributes:
        total: scalar tensor with a gradient.
        losses: scalar tensors by name, before weights, in nats.
    """

    total: Tensor
    losses: dict[str, Tensor]


class Objective(Protocol):
    """Maps (batch, classes) logits and the batch they belong to, to the value to minimise."""

    def __call__(self, logits: Tensor, batch: Batch, /) -> ObjectiveValue: ...


@dataclass(frozen=True)
class HardObjective:
    """Mean cross-entropy with the hard labels."""

    def __call__(self, logits: Tensor, batch: Batch) -> ObjectiveValue:
        """The objective of (batch, classes) logits."""
        hard = hard_cross_entropy(logits, batch.hard_labels).mean()
        return ObjectiveValue(hard, {"hard": hard})


@dataclass(frozen=True)
class HintonObjective:
    """(l1 T^2 L_soft + l2 L_hard) / (l1 + l2) (Hinton, Vinyals, Dean 2015, section 2).

    Attributes:
        temperature: T of the soft loss.
        soft_weight: l1.
        hard_weight: l2; 0 leaves the hard labels out.
    """

    temperature: float
    soft_weight: float
    hard_weight: float

    def __call__(self, logits: Tensor, batch: Batch) -> ObjectiveValue:
        """The objective of (batch, classes) logits; the batch must carry soft targets."""
        if batch.soft_targets is None:
            raise ValueError("a batch without soft targets: give the examples a teacher")
        total, soft, hard = soft_and_hard_loss(
            logits,
            batch.soft_targets,
            batch.hard_labels,
            temperature=self.temperature,
            soft_weight=self.soft_weight,
            hard_weight=self.hard_weight,
        )
        return ObjectiveValue(total, {"soft": soft, "hard": hard})


@dataclass(frozen=True)
class SoftObjective:
    """The mean of one loss against the teacher alone, such as `partial(kl_teacher_to_student, temperature=4.0)`.

    Attributes:
        name: that the loss is logged by.
        loss: of (batch, classes) logits and soft targets, one value per example.
    """

    name: str
    loss: Callable[[Tensor, SoftTargets], Tensor]

    def __call__(self, logits: Tensor, batch: Batch) -> ObjectiveValue:
        """The objective of (batch, classes) logits; the batch must carry soft targets."""
        if batch.soft_targets is None:
            raise ValueError("a batch without soft targets: give the examples a teacher")
        soft = self.loss(logits, batch.soft_targets).mean()
        return ObjectiveValue(soft, {self.name: soft})


SOFT_LOSSES: dict[str, Callable[..., Tensor]] = {
    "soft_cross_entropy": soft_cross_entropy,
    "kl_teacher_to_student": kl_teacher_to_student,
    "kl_student_to_teacher": kl_student_to_teacher,
    "squared_logit_difference": squared_logit_difference,
}


def soft_objective(name: str, *, temperature: float) -> SoftObjective:
    """The objective of one of `SOFT_LOSSES`; that on logits has no temperature and ignores it."""
    loss = SOFT_LOSSES[name]
    return SoftObjective(name, loss if loss is squared_logit_difference else partial(loss, temperature=temperature))
