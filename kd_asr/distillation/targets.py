"""Soft targets: a teacher's posteriors, all of them or the top k of each example."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SoftTargets:
    """A teacher's distribution over the classes for each example, at temperature 1.

    Attributes:
        classes: (batch, k) int64, the kept classes, all different in a row.
        log_probs: (batch, k) float32, their natural log-probabilities.
        rest: (batch,) float32, the probability mass of the `num_classes - k` other classes together.
        num_classes: of the distribution.
    """

    classes: Tensor
    log_probs: Tensor
    rest: Tensor
    num_classes: int

    def at_temperature(self, temperature: float) -> tuple[Tensor, Tensor]:
        """The distribution with its log-probabilities divided by `temperature` and normalised again.

        The mass outside the top k is known only in sum. It is taken as spread evenly over the other classes, which
        is exact for k = num_classes and k = num_classes - 1, and for the rest the distribution of largest entropy.

        Returns:
            (batch, k) probabilities of `classes`, and (batch,) probability of each one of the other classes.
        """
        others = self.num_classes - self.classes.shape[1]
        kept = self.log_probs / temperature
        if others == 0:
            return kept.softmax(dim=1), torch.zeros_like(self.rest)
        each = (self.rest.clamp_min(1e-30) / others).log() / temperature
        logs = torch.cat([kept, each[:, None] + torch.tensor(float(others)).log()], dim=1)
        probs = logs.softmax(dim=1)
        return probs[:, :-1], probs[:, -1] / others


def top_k_targets(log_probs: Tensor, k: int) -> SoftTargets:
    """Keep the `k` most probable classes of dense (batch, classes) log-probabilities."""
    num_classes = log_probs.shape[1]
    kept, classes = log_probs.topk(min(k, num_classes), dim=1)
    rest = (1.0 - kept.exp().sum(dim=1)).clamp_min(0.0)
    return SoftTargets(classes, kept, rest, num_classes)
