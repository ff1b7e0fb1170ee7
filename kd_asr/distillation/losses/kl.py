"""Kullback-Leibler divergence of the student from the teacher: it has the gradient of the soft cross-entropy, and is 0
where the two agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import check_shapes, posteriors_of
from kd_asr.distillation.signal import Signal, SoftTargets
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss
from kd_asr.settings.ranges import AtLeast, AtMost


def kl_teacher_to_student(logits: Tensor, targets: SoftTargets, *, temperature: float) -> Tensor:
    """T^2 KL(p || q): p is the teacher's distribution at temperature T, q = softmax(logits / T).

    It is the soft cross-entropy minus T^2 times the teacher's entropy: the same gradient, and 0 where the student
    agrees. Arguments, result and errors are those of `losses.soft.soft_cross_entropy`; the factor T^2 is included.
    """
    check_shapes(logits, targets)
    log_p = targets.dense_log_probs(temperature)
    log_q = F.log_softmax(logits / temperature, dim=1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1)


@dataclass(frozen=True)
class KlSettings:
    """KL(teacher || student) at a temperature.

    Attributes:
        temperature: Temperature T of both softmaxes; the loss carries its factor T squared.
    """

    temperature: Annotated[float, AtLeast(0.01), AtMost(10_000)] = 2.0


@loss("kl")
class KlLoss:
    """`kl_teacher_to_student` of a batch."""

    Settings = KlSettings
    needs = frozenset({"posteriors"})

    def __init__(self, settings: KlSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        return kl_teacher_to_student(outputs.logits, posteriors_of(signal), temperature=self.settings.temperature)
