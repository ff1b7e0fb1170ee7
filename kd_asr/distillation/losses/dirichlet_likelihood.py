"""Ensemble distribution distillation by likelihood (Malinin, Mlodozeniec, Gales, ICLR 2020, arXiv 1905.00076).

For few classes; with thousands, the loss `dirichlet` learns where this one does not (Ryabinin and others 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import members_of_signal
from kd_asr.distillation.signal import Signal
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below

_LARGEST_LOGIT = 60.0


def tempered_concentrations(logits: Tensor, temperature: float) -> Tensor:
    """alpha = exp(z / T) of (labels, classes) logits z."""
    return (logits / temperature).clamp_max(_LARGEST_LOGIT).exp()


def dirichlet_likelihood_loss(
    logits: Tensor, members: Sequence[Tensor], *, temperature: float, smoothing: float
) -> Tensor:
    """-1/M sum_m log Dir(p_m | alpha), alpha = exp(z / T), where p_m is a member's posterior at temperature T.

    Args:
        logits: (labels, classes) float, z of the student.
        members: (labels, classes) log-posteriors of each member of the ensemble, at temperature 1.
        temperature: T > 0.
        smoothing: share of each member's posterior that is made uniform, since a posterior of 0 has no likelihood.

    Returns:
        (labels,) nats; negative where the density is above 1.
    """
    alpha = tempered_concentrations(logits, temperature)
    classes = logits.shape[1]
    uniform = math.log(smoothing / classes)
    tempered = torch.stack([(member / temperature).log_softmax(dim=1) for member in members])
    smoothed = torch.logaddexp(tempered + math.log1p(-smoothing), torch.full_like(tempered, uniform))
    log_partition = torch.lgamma(alpha).sum(dim=1) - torch.lgamma(alpha.sum(dim=1))
    return log_partition - ((alpha - 1.0) * smoothed.mean(dim=0)).sum(dim=1)


@dataclass(frozen=True)
class DirichletLikelihoodSettings:
    """Likelihood of the members' posteriors under the student's Dirichlet distribution.

    Attributes:
        temperature: Temperature T of the members' posteriors and of the student's logits.
        smoothing: Share of each member's posterior that is made uniform.
    """

    temperature: Annotated[float, AtLeast(0.01), AtMost(10_000)] = 2.0
    smoothing: Annotated[float, Above(0), Below(1)] = 1e-4


@loss("dirichlet_likelihood")
class DirichletLikelihoodLoss:
    """`dirichlet_likelihood_loss` of a batch."""

    Settings = DirichletLikelihoodSettings
    needs = frozenset({"members"})

    def __init__(self, settings: DirichletLikelihoodSettings) -> None:
        self.settings = settings

    def concentrations(self, logits: Tensor) -> Tensor:
        """`tempered_concentrations` of (labels, classes) logits at temperature 1, of posteriors as they are."""
        return tempered_concentrations(logits, 1.0)

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        return dirichlet_likelihood_loss(
            outputs.logits,
            members_of_signal(signal, outputs.logits),
            temperature=self.settings.temperature,
            smoothing=self.settings.smoothing,
        )
