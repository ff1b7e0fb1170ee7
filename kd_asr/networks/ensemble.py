"""The ensemble is a model too: it maps inputs to averaged log-posteriors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn


def average_log_posteriors(log_posteriors: Sequence[Tensor], average: Literal["arithmetic", "geometric"]) -> Tensor:
    """Average the posteriors of several models.

    Args:
        log_posteriors: one (batch, classes) tensor per model, natural logarithms.
        average: `arithmetic` mean of the posteriors, or their `geometric` mean, normalised (Hinton, Vinyals, Dean
            2015, section 2, allow both).

    Returns:
        (batch, classes) log-posteriors.
    """
    if average == "arithmetic":
        # Equal to torch's logsumexp over a stack of them, which takes four times as long.
        # Above -inf, so that a class that all hold for impossible is so, and not a NaN.
        largest = reduce(torch.maximum, log_posteriors).clamp_min(torch.finfo(log_posteriors[0].dtype).min / 2)
        total = sum(((one - largest).exp_() for one in log_posteriors), torch.zeros_like(largest))
        return total.log() + (largest - math.log(len(log_posteriors)))
    return (sum(log_posteriors, torch.zeros_like(log_posteriors[0])) / len(log_posteriors)).log_softmax(dim=-1)


def combined_log_posteriors(
    models: Sequence[object], log_posteriors: Sequence[Tensor], average: Literal["arithmetic", "geometric"]
) -> Tensor:
    """The posterior of several networks together: their average, or that of generalists with their specialists.

    Args:
        models: the networks; one with `special`, (classes,) bool, is a specialist for these classes.
        log_posteriors: (labels, classes) of each, natural logarithms.
        average: mean of the networks that are no specialists.

    Returns:
        (labels, classes) log-posteriors.
    """
    special = [getattr(model, "special", None) for model in models]
    general = [one for one, own in zip(log_posteriors, special, strict=True) if own is None]
    averaged = average_log_posteriors(general, average) if len(general) > 1 else general[0]
    own = [(one, classes) for one, classes in zip(log_posteriors, special, strict=True) if classes is not None]
    return with_specialists(averaged, own) if own else averaged


def with_specialists(
    general: Tensor, specialists: Sequence[tuple[Tensor, Tensor]], *, everyone: bool = False, steps: int = 10
) -> Tensor:
    """The posterior q that is least in KL(p_g || q) + sum_m KL(p_m || q_m) (Hinton, Vinyals, Dean 2015, equation 5),
    where q_m has the sum of q over the dustbin of a specialist m, all classes that are not its own.

    Specialists are asked for whose classes the generalist's most probable one is (section 5.4, n = 1). The paper goes
    down the gradient of q's logits. The sum is, but for a constant, the negative log-likelihood of q for counts some of
    which are known only in groups, so that expectation maximisation (Dempster, Laird, Rubin 1977) finds the same
    minimum without a learning rate: every dustbin's posterior is shared among its classes as q shares it, and the
    shares are averaged. With one specialist at a time, the first step is exact.

    Args:
        general: (labels, classes) log-posteriors p_g of the generalist.
        specialists: (labels, classes) log-posteriors of each, whose sum over the dustbin is all that counts there, and
            (classes,) bool, its own classes.
        everyone: whether all specialists are asked about every label.
        steps: of expectation maximisation; each leaves the sum as it is or makes it smaller.

    Returns:
        (labels, classes) log-posteriors.
    """
    known, dustbins, first = general.exp(), [], general.argmax(dim=1)
    for log_probs, special in specialists:
        asked = log_probs.exp() * (torch.ones_like(first) if everyone else special[first])[:, None]
        outside = (~special).to(asked)
        dustbins.append(((asked * outside).sum(dim=1, keepdim=True), outside))
        known = known + asked * special
    least = torch.finfo(known.dtype).tiny
    q = known / known.sum(dim=1, keepdim=True)
    for _ in range(steps):
        shared = known
        for mass, outside in dustbins:
            others = q * outside
            shared = shared + mass * others / others.sum(dim=1, keepdim=True).clamp_min(least)
        q = shared / shared.sum(dim=1, keepdim=True)
    return q.clamp_min(least).log()


class Ensemble(nn.Module):
    """Several networks whose posteriors are averaged, or a generalist with its specialists; the outputs are
    log-posteriors, which can serve as logits."""

    def __init__(self, members: Sequence[nn.Module], average: Literal["arithmetic", "geometric"]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        axes = {getattr(member, "row_axis", None) for member in members}
        self.row_axis: int | None = axes.pop() if len(axes) == 1 else None
        self.average: Literal["arithmetic", "geometric"] = average

    def forward(self, inputs: Tensor) -> Tensor:
        """Averaged log-posteriors, (batch, classes)."""
        log_posteriors = [member(inputs).float().log_softmax(dim=-1) for member in self.members]
        return combined_log_posteriors(list(self.members), log_posteriors, self.average)
