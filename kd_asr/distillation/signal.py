"""Outputs of a teacher for a batch: soft targets, complete or the top k of each example, and those of its members."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kd_asr.sequence.forward_backward import SequenceGraphs

# The log-probability, at any temperature, of classes that a teacher holds for impossible, where a loss needs a number.
IMPOSSIBLE = -100.0
_LEAST_TAIL = math.log(1e-30)


def floored(log_probs: Tensor) -> Tensor:
    """Log-probabilities with `IMPOSSIBLE` for -inf, so that products with probabilities of 0 are 0."""
    return log_probs.masked_fill(log_probs == -math.inf, IMPOSSIBLE)


@dataclass(frozen=True)
class SoftTargets:
    """A teacher's distribution over the classes for each example, at temperature 1.

    Only the total of the mass outside the top k is known. It is shared among the other classes in proportion to
    `tail_prior`, their average probability under the teacher. If it were shared evenly, classes that never occur would
    get far more than their prior, and a hybrid decoder, which divides by the prior, would find them everywhere.

    Attributes:
        classes: (batch, k) int64, the kept classes, all different within a row.
        log_probs: (batch, k) float32, their natural log-probabilities; -inf for a class that is impossible.
        log_tail_mass: (batch,) float32, natural logarithm of the probability of the other classes together.
        tail_prior: (num_classes,) float32, positive; only ratios matter.
    """

    classes: Tensor
    log_probs: Tensor
    log_tail_mass: Tensor
    tail_prior: Tensor

    @property
    def num_classes(self) -> int:
        """Number of classes of the distribution."""
        return len(self.tail_prior)

    def select(self, chosen: slice | Tensor) -> SoftTargets:
        """Soft targets of some of the examples."""
        return SoftTargets(self.classes[chosen], self.log_probs[chosen], self.log_tail_mass[chosen], self.tail_prior)

    def at_temperature(self, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """The distribution with its log-probabilities divided by `temperature` and renormalised.

        Returns:
            (batch, k) probabilities of `classes`; (batch,) `tail_scale` and (num_classes,) `tail_weights`, such that
            any other class c has the probability `tail_scale * tail_weights[c]`.
        """
        if temperature == 1.0 and self.num_classes > self.classes.shape[1]:
            # The same without logarithms, since this is the common case.
            kept, tail_mass = self.log_probs.exp(), self.log_tail_mass.exp()
            total = kept.sum(dim=1) + tail_mass
            return kept / total[:, None], tail_mass / (total * self._outside(self.tail_prior)), self.tail_prior
        log_kept, log_tail_scale, tail_weights = self._log_at_temperature(temperature)
        return log_kept.exp(), log_tail_scale.exp(), tail_weights

    def dense_log_probs(self, temperature: float) -> Tensor:
        """Log-probabilities of all classes at `temperature`: (batch, num_classes), the tail shared by `tail_prior`;
        `IMPOSSIBLE` where the probability is 0."""
        log_kept, log_tail_scale, tail_weights = self._log_at_temperature(temperature)
        return floored((log_tail_scale[:, None] + tail_weights.log()).scatter(1, self.classes, log_kept))

    def _log_at_temperature(self, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """`at_temperature` with the logarithms of the probabilities and of `tail_scale`."""
        others = self.num_classes - self.classes.shape[1]
        tail_weights = self.tail_prior ** (1.0 / temperature)
        kept = self.log_probs / temperature
        if others == 0:
            return kept.log_softmax(dim=1), torch.full_like(self.log_tail_mass, -torch.inf), tail_weights
        outside = self._outside(tail_weights)
        log_density = self.log_tail_mass.clamp_min(_LEAST_TAIL) - self._outside(self.tail_prior).log()
        tail = log_density / temperature + outside.log()
        joint = torch.cat([kept, tail[:, None]], dim=1).log_softmax(dim=1)
        return joint[:, :-1], joint[:, -1] - outside.log(), tail_weights

    def _outside(self, weights: Tensor) -> Tensor:
        """(batch,) sums of (num_classes,) `weights` over the classes that are not kept; rounding never makes them less
        than as many of the smallest weight."""
        others = self.num_classes - self.classes.shape[1]
        return (weights.sum() - weights[self.classes].sum(dim=1)).clamp_min(others * weights.min())


def top_k_targets(log_probs: Tensor, k: int, tail_prior: Tensor | None = None) -> SoftTargets:
    """Keep the `k` most probable classes of dense (batch, classes) log-probabilities.

    Args:
        log_probs: the teacher's log-probabilities.
        k: number of classes to keep; all if there are fewer.
        tail_prior: (classes,) float, see `SoftTargets`; uniform by default.
    """
    num_classes = log_probs.shape[1]
    kept, classes = log_probs.topk(min(k, num_classes), dim=1)
    # Summed over the others: one minus the kept ones would be mostly rounding where these have nearly everything.
    log_tail_mass = log_probs.scatter(1, classes, -torch.inf).logsumexp(dim=1)
    if tail_prior is None:
        tail_prior = log_probs.new_full((num_classes,), 1.0 / num_classes)
    return SoftTargets(classes, kept, log_tail_mass, tail_prior)


def complete_targets(log_probs: Tensor) -> SoftTargets:
    """Soft targets with all classes of dense (batch, classes) log-probabilities, in the order of their numbers."""
    count, num_classes = log_probs.shape
    classes = torch.arange(num_classes, device=log_probs.device).expand(count, num_classes)
    even = log_probs.new_full((num_classes,), 1.0 / num_classes)
    return SoftTargets(classes, log_probs, log_probs.new_full((count,), -torch.inf), even)


def join_targets(parts: Sequence[SoftTargets]) -> SoftTargets:
    """Soft targets of one teacher for several batches, one after the other."""
    return SoftTargets(
        torch.cat([part.classes for part in parts]),
        torch.cat([part.log_probs for part in parts]),
        torch.cat([part.log_tail_mass for part in parts]),
        parts[0].tail_prior,
    )


def tail_sum(log_probs: Tensor, kept: Tensor) -> Tensor:
    """(classes,) float64 sums, over a batch, of the probability that each class has where it is not kept.

    Over all examples the sums are the `tail_prior` of `SoftTargets`.

    Args:
        log_probs: (batch, classes) log-probabilities.
        kept: (batch, k) int64, the kept classes of each example.
    """
    return log_probs.exp().scatter_(1, kept, 0.0).sum(dim=0, dtype=torch.float64)


@dataclass(frozen=True)
class Signal:
    """A teacher's outputs for a batch.

    Attributes:
        targets: Soft targets of each label, or None.
        members: (labels, classes) log-posteriors of each of several teachers, or of the networks trained together.
        taps: (labels, width) float32 outputs of middle layers of a teacher, by name.
        frames: (labels,) int64 numbers of the labels' frames, for losses on sequences.
        graphs: What such losses compare, by these numbers.
    """

    targets: SoftTargets | None = None
    members: tuple[Tensor, ...] = ()
    taps: Mapping[str, Tensor] = field(default_factory=dict)
    frames: Tensor | None = None
    graphs: SequenceGraphs | None = None

    def select(self, chosen: slice | Tensor) -> Signal:
        """The outputs for some of the labels."""
        targets = self.targets.select(chosen) if self.targets is not None else None
        members = tuple(member[chosen] for member in self.members)
        taps = {name: tap[chosen] for name, tap in self.taps.items()}
        frames = self.frames[chosen] if self.frames is not None else None
        return Signal(targets, members, taps, frames, self.graphs)
