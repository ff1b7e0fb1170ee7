"""How unsure a classifier is, and why: measures in nats for each label.

Total uncertainty is the entropy of the mean posterior. It is the sum of data uncertainty, what the members of an
ensemble (or the posteriors that a Dirichlet distribution draws) are unsure of each by itself, and knowledge
uncertainty, how far they disagree: the mutual information of label and member (Depeweg and others 2018; Malinin, Gales
2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Uncertainty:
    """Measures of some labels.

    Attributes:
        total: (labels,) nats, entropy of the mean posterior.
        data: (labels,) nats, mean entropy of the posteriors.
    """

    total: Tensor
    data: Tensor

    @property
    def knowledge(self) -> Tensor:
        """(labels,) nats, their difference: 0 where all posteriors are the same."""
        return self.total - self.data


def entropy(log_posteriors: Tensor) -> Tensor:
    """(...) nats of (..., classes) log-posteriors; a class of probability 0 adds nothing."""
    posteriors = log_posteriors.exp()
    found: Tensor = -torch.special.xlogy(posteriors, posteriors).sum(dim=-1)
    return found


def uncertainty_of_members(log_posteriors: Sequence[Tensor]) -> Uncertainty:
    """Of an ensemble, from the (labels, classes) log-posteriors of each member; the mean is arithmetic."""
    each = torch.stack([member.double() for member in log_posteriors])
    mean = each.exp().mean(dim=0)
    return Uncertainty(entropy(mean.log()), entropy(each).mean(dim=0))


def uncertainty_of_dirichlet(concentrations: Tensor) -> Uncertainty:
    """Of a Dirichlet distribution over posteriors, in closed form (Malinin, Gales 2018, appendix C).

    Data uncertainty is -sum_k m_k (psi(alpha_k + 1) - psi(alpha_0 + 1)), m = alpha / alpha_0.

    Args:
        concentrations: (labels, classes), alpha > 0.
    """
    alpha = concentrations.double()
    total = alpha.sum(dim=1, keepdim=True)
    mean = alpha / total
    data = -(mean * (torch.digamma(alpha + 1.0) - torch.digamma(total + 1.0))).sum(dim=1)
    return Uncertainty(entropy(mean.log()), data)


def area_under_curve(measure: NDArray[np.floating], positive: NDArray[np.bool_]) -> float | None:
    """Area under the receiver operating characteristic of a measure that should be larger for the positive ones: the
    probability that it is larger for a positive one than for another, ties counting half.

    Args:
        measure: (labels,) finite.
        positive: (labels,).

    Returns:
        0..1, where chance is 0.5; None if all are positive or none is.
    """
    from sklearn.metrics import roc_auc_score  # slow to import

    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, measure))
