"""Soft targets: a teacher's posteriors, all of them or the top k of each example."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SoftTargets:
    """A teacher's distribution over the classes for each example, at temperature 1.

    The mass outside the top k is known only in sum. It is shared among the other classes in proportion to `background`,
    what the teacher gives to them on average. Shared evenly instead, classes that never occur would get far more than
    their prior, and a hybrid decoder, which divides by the prior, would find them everywhere.

    Attributes:
        classes: (batch, k) int64, the kept classes, all different in a row.
        log_probs: (batch, k) float32, their natural log-probabilities.
        rest: (batch,) float32, the probability mass of the other classes together.
        background: (num_classes,) float32, positive; only ratios matter.
    """

    classes: Tensor
    log_probs: Tensor
    rest: Tensor
    background: Tensor

    @property
    def num_classes(self) -> int:
        """Classes of the distribution."""
        return len(self.background)

    def part(self, chosen: slice | Tensor) -> SoftTargets:
        """Those of some of the examples."""
        return SoftTargets(self.classes[chosen], self.log_probs[chosen], self.rest[chosen], self.background)

    def at_temperature(self, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """The distribution with its log-probabilities divided by `temperature` and normalised again.

        Returns:
            (batch, k) probabilities of `classes`; (batch,) `scale` and (num_classes,) `shape`, such that any other
            class c has the probability `scale * shape[c]`.
        """
        if temperature == 1.0 and self.num_classes > self.classes.shape[1]:
            # The same without logarithms: a student is taught so for most of its time.
            kept = self.log_probs.exp()
            total = kept.sum(dim=1) + self.rest
            return kept / total[:, None], self.rest / (total * self._left(self.background)), self.background
        log_kept, log_scale, shape = self._log_at_temperature(temperature)
        return log_kept.exp(), log_scale.exp(), shape

    def dense_log_probs(self, temperature: float) -> Tensor:
        """Log-probabilities of all classes at `temperature`: (batch, num_classes), the tail shared as said above."""
        log_kept, log_scale, shape = self._log_at_temperature(temperature)
        return (log_scale[:, None] + shape.log()).scatter(1, self.classes, log_kept)

    def _log_at_temperature(self, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """`at_temperature` with the logarithms of probabilities and scale."""
        others = self.num_classes - self.classes.shape[1]
        shape = self.background ** (1.0 / temperature)
        kept = self.log_probs / temperature
        if others == 0:
            return kept.log_softmax(dim=1), torch.full_like(self.rest, -torch.inf), shape
        shape_left = self._left(shape)
        tail = (self.rest.clamp_min(1e-30) / self._left(self.background)).log() / temperature + shape_left.log()
        joint = torch.cat([kept, tail[:, None]], dim=1).log_softmax(dim=1)
        return joint[:, :-1], joint[:, -1] - shape_left.log(), shape

    def _left(self, shape: Tensor) -> Tensor:
        """What the classes that are not kept have of (num_classes,) `shape`: (batch,); never less than the smallest
        others have, whatever rounding says."""
        others = self.num_classes - self.classes.shape[1]
        return (shape.sum() - shape[self.classes].sum(dim=1)).clamp_min(float(others * shape.min()))


def top_k_targets(log_probs: Tensor, k: int, background: Tensor | None = None) -> SoftTargets:
    """Keep the `k` most probable classes of dense (batch, classes) log-probabilities.

    Args:
        log_probs: of a teacher.
        k: classes to keep, at most all.
        background: (classes,) see `SoftTargets`; by default even.
    """
    num_classes = log_probs.shape[1]
    kept, classes = log_probs.topk(min(k, num_classes), dim=1)
    rest = (1.0 - kept.exp().sum(dim=1)).clamp_min(0.0)
    if background is None:
        background = torch.full((num_classes,), 1.0 / num_classes, dtype=log_probs.dtype)
    return SoftTargets(classes, kept, rest, background)


def tail_sum(log_probs: Tensor, kept: Tensor) -> Tensor:
    """What dense (batch, classes) log-probabilities give to other classes than the (batch, k) `kept` ones of each
    example: (classes,) float64 sums over the batch.

    Over all examples it is the `background` of `SoftTargets`.
    """
    return log_probs.exp().scatter_(1, kept, 0.0).sum(dim=0, dtype=torch.float64)
