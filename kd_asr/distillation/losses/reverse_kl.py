"""Kullback-Leibler divergence of the teacher from the student, which is mode-seeking."""

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


def kl_student_to_teacher(logits: Tensor, targets: SoftTargets, *, temperature: float) -> Tensor:
    """T^2 KL(q || p), the reverse of `losses.kl.kl_teacher_to_student`: it penalises classes that the teacher excludes.

    Its gradient is T q_i (log(q_i / p_i) - KL(q || p)). For large T it, too, tends to (z - v) / N: near equality the
    two divergences agree to second order. Arguments, result and errors are those of `losses.soft.soft_cross_entropy`.
    """
    check_shapes(logits, targets)
    log_p = targets.dense_log_probs(temperature)
    log_q = F.log_softmax(logits / temperature, dim=1)
    return temperature**2 * (log_q.exp() * (log_q - log_p)).sum(dim=1)


@dataclass(frozen=True)
class ReverseKlSettings:
    """KL(student || teacher) at a temperature.

    Attributes:
        temperature: Temperature T of both softmaxes; the loss carries its factor T squared.
    """

    temperature: Annotated[float, AtLeast(0.01), AtMost(10_000)] = 2.0


@loss("reverse_kl")
class ReverseKlLoss:
    """`kl_student_to_teacher` of a batch."""

    Settings = ReverseKlSettings
    needs = frozenset({"posteriors"})

    def __init__(self, settings: ReverseKlSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        return kl_student_to_teacher(outputs.logits, posteriors_of(signal), temperature=self.settings.temperature)
