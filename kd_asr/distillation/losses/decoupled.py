"""Decoupled knowledge distillation (Zhao, Cui, Song, Qiu, Liang, CVPR 2022, arXiv 2203.08679)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import UNLABELLED, check_shapes, posteriors_of
from kd_asr.distillation.signal import Signal, SoftTargets
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss
from kd_asr.settings.ranges import AtLeast, AtMost


def decoupled_loss(
    logits: Tensor,
    targets: SoftTargets,
    hard_labels: Tensor,
    *,
    temperature: float,
    target_weight: float,
    other_weight: float,
) -> Tensor:
    """T^2 (alpha TCKD + beta NCKD).

    TCKD is the divergence KL(b || b') of the binary distributions "the label or not" of teacher and student, NCKD that
    of their distributions over the other classes alone, each normalised (equations 5 to 7). The ordinary divergence is
    TCKD + (1 - p) NCKD, where p is the teacher's probability of the label: where the teacher is certain, it learns
    little from the other classes.

    Args:
        logits: (batch, classes) float32, of the student.
        targets: of the same batch and number of classes.
        hard_labels: (batch,) int64. An `UNLABELLED` example has no class to separate from the others: its loss is the
            ordinary divergence times T^2.
        temperature: T > 0, of both distributions.
        target_weight: alpha.
        other_weight: beta.

    Returns:
        (batch,) float32.

    Raises:
        ValueError: the numbers of examples or classes differ.
    """
    check_shapes(logits, targets)
    log_p = targets.dense_log_probs(temperature)
    log_q = F.log_softmax(logits / temperature, dim=1)
    label = hard_labels.masked_fill(hard_labels == UNLABELLED, 0)[:, None]
    is_label = torch.zeros_like(log_q, dtype=torch.bool).scatter_(1, label, True)

    def split(log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch,) log-probabilities of the label and of all others; (batch, classes) of the others, normalised."""
        others = log_probs.masked_fill(is_label, -torch.inf)
        log_others = others.logsumexp(dim=1)
        return log_probs.gather(1, label)[:, 0], log_others, log_probs - log_others[:, None]

    log_p_label, log_p_others, log_p_each = split(log_p)
    log_q_label, log_q_others, log_q_each = split(log_q)
    target_class = log_p_label.exp() * (log_p_label - log_q_label) + log_p_others.exp() * (log_p_others - log_q_others)
    # Masked before the exponential, which would overflow at the label where the teacher is certain.
    p_each = log_p_each.masked_fill(is_label, -torch.inf).exp()
    other_classes = (p_each * (log_p_each - log_q_each)).sum(dim=1)
    decoupled = target_weight * target_class + other_weight * other_classes
    ordinary = (log_p.exp() * (log_p - log_q)).sum(dim=1)
    return temperature**2 * torch.where(hard_labels == UNLABELLED, ordinary, decoupled)


@dataclass(frozen=True)
class DecoupledSettings:
    """Decoupled distillation (Zhao and others 2022).

    Attributes:
        temperature: Temperature T of both softmaxes (paper: 4); the loss carries its factor T squared.
        target_weight: Weight alpha of the label's class against all others (paper: 1).
        other_weight: Weight beta of the distribution over the other classes (paper: 1 to 8).
    """

    temperature: Annotated[float, AtLeast(0.01), AtMost(10_000)] = 2.0
    target_weight: Annotated[float, AtLeast(0)] = 1.0
    other_weight: Annotated[float, AtLeast(0)] = 8.0


@loss("decoupled")
class DecoupledLoss:
    """`decoupled_loss` of a batch."""

    Settings = DecoupledSettings
    needs = frozenset({"posteriors", "labels"})

    def __init__(self, settings: DecoupledSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        return decoupled_loss(
            outputs.logits,
            posteriors_of(signal),
            batch.hard_labels,
            temperature=self.settings.temperature,
            target_weight=self.settings.target_weight,
            other_weight=self.settings.other_weight,
        )
