"""Ensemble distribution distillation for many classes: the student predicts a Dirichlet distribution over posteriors,
which keeps how far the members of an ensemble disagree (Ryabinin, Malinin, Gales 2021, arXiv 2105.06987)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import members_of_signal
from kd_asr.distillation.signal import Signal, floored
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss
from kd_asr.settings.ranges import Above, AtMost

# More than the logarithm of any evidence that is asked for: 10,000 classes and a divergence of 1e-4 nats ask for e^18.
# Beyond it the entropy, a small difference of large numbers, would be rounding, in double precision too.
_LARGEST_LOGIT = 20.0


def concentrations(logits: Tensor) -> Tensor:
    """alpha = exp(z) + 1, the Dirichlet distribution that (..., classes) logits z stand for.

    exp(z) is the evidence for each class. The mean of the evidence, softmax(z), is what the student predicts; the 1
    keeps the loss finite where there is none (section 3). Logits above 20 count as 20, with the gradient at 20, which
    leads back.
    """
    bounded = logits + (logits.clamp_max(_LARGEST_LOGIT) - logits).detach()
    return bounded.exp() + 1.0


def evidence_of_members(members: Sequence[Tensor], *, least_divergence: float) -> tuple[Tensor, Tensor]:
    """The mean of the members' posteriors, and how much evidence for it their agreement is.

    beta = (K - 1) / (2 D) + K, where D is the mean over members of KL(mean || member): Stirling's approximation of the
    most probable precision of a Dirichlet distribution that drew the members (section 3).

    Args:
        members: (labels, classes) log-posteriors of each of M > 1 members.
        least_divergence: smallest D in nats; members that agree entirely would be infinite evidence.

    Returns:
        (labels, classes) mean, and (labels,) beta.
    """
    log_probs = torch.stack([floored(member) for member in members])
    mean = log_probs.exp().mean(dim=0)
    # The difference of logarithms is 0 where the mean is; floored, so that 0 times it is no NaN.
    log_mean = floored(mean.log())
    divergence = (mean * (log_mean - log_probs.mean(dim=0))).sum(dim=1).clamp_min(least_divergence)
    classes = mean.shape[1]
    return mean, (classes - 1) / (2.0 * divergence) + classes


def proxy_dirichlet_loss(logits: Tensor, members: Sequence[Tensor], *, least_divergence: float) -> Tensor:
    """KL(Dir(alpha) || Dir(1 + beta p)) / beta up to a constant, with alpha of `concentrations`, p and beta of
    `evidence_of_members`: -sum_k p_k (psi(alpha_k) - psi(alpha_0)) - H(Dir(alpha)) / beta.

    It is least where exp(z) = beta p. The members are constants.

    Args:
        logits: (labels, classes) float, of the student.
        members: (labels, classes) log-posteriors of each member of the ensemble.
        least_divergence: as in `evidence_of_members`.

    Returns:
        (labels,) nats.
    """
    mean, beta = evidence_of_members(members, least_divergence=least_divergence)
    # In single precision a concentration of 1e7 leaves nothing of the gradient but rounding.
    alpha = concentrations(logits.double())
    total = alpha.sum(dim=1)
    expected_log = torch.digamma(alpha) - torch.digamma(total)[:, None]
    log_partition = torch.lgamma(alpha).sum(dim=1) - torch.lgamma(total)
    entropy = log_partition - ((alpha - 1.0) * expected_log).sum(dim=1)
    return (-(mean * expected_log).sum(dim=1) - entropy / beta).to(logits.dtype)


@dataclass(frozen=True)
class DirichletSettings:
    """Reverse divergence from the Dirichlet distribution that stands for the ensemble's members.

    Attributes:
        least_divergence: Smallest mean divergence, in nats, of the members from their mean that counts: where they
            agree more, the student is asked for no more evidence.
    """

    least_divergence: Annotated[float, Above(0), AtMost(1)] = 1e-4


@loss("dirichlet")
class DirichletLoss:
    """`proxy_dirichlet_loss` of a batch."""

    Settings = DirichletSettings
    needs = frozenset({"members"})

    def __init__(self, settings: DirichletSettings) -> None:
        self.settings = settings

    def concentrations(self, logits: Tensor) -> Tensor:
        """`concentrations` of (labels, classes) logits."""
        return concentrations(logits)

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        members = members_of_signal(signal, outputs.logits)
        return proxy_dirichlet_loss(outputs.logits, members, least_divergence=self.settings.least_divergence)
