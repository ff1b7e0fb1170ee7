"""Specialists for sets of confusable classes beside a generalist (Hinton, Vinyals, Dean 2015, section 5): how the sets
are found, how a specialist's posterior is corrected, and how all are combined. Pure functions of posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpecialPosterior:
    """A specialist's posterior of some labels.

    Attributes:
        classes: (special,) int64, the specialist's own classes, all different.
        log_posteriors: (labels, special + 1), of these classes in their order, and of all others together, the dustbin.
    """

    classes: Tensor
    log_posteriors: Tensor


def covariance_of_posteriors(posteriors: Sequence[Tensor]) -> Tensor:
    """(classes, classes) float64 covariance, over labels, of (labels, classes) posteriors that come in parts."""
    count = sum(len(part) for part in posteriors)
    mean = torch.stack([part.double().sum(dim=0) for part in posteriors]).sum(dim=0) / count
    centred = (part.double() - mean for part in posteriors)
    return torch.stack([part.T @ part for part in centred]).sum(dim=0) / count


def online_k_means(points: Tensor, clusters: int, *, seed: int, passes: int = 20) -> Tensor:
    """Cluster of each point, by K-means that moves a centre with every point (MacQueen 1967).

    A centre is the mean of the points that have come to it. The first centres are points far from each other: each the
    farthest from those before it, after one that is drawn. Ends early when a pass changes nothing.

    Args:
        points: (points, numbers), such as the columns of a covariance of posteriors.
        clusters: at most as many as there are points.
        seed: of the first centre and of the order of the points in each pass.
        passes: over all points, at most.

    Returns:
        (points,) int64, 0 to clusters - 1.

    Raises:
        ValueError: there are more clusters than points, or none.
    """
    if not 1 <= clusters <= len(points):
        raise ValueError(f"{clusters} clusters of {len(points)} points")
    generator = torch.Generator().manual_seed(seed)
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    nearest = (points - points[chosen[0]]).square().sum(dim=1)
    while len(chosen) < clusters:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(dim=1))
    centres, counts = points[chosen].clone(), torch.ones(clusters, dtype=points.dtype)
    before = torch.full((len(points),), -1)
    for _ in range(passes):
        for number in torch.randperm(len(points), generator=generator).tolist():
            own = int((centres - points[number]).square().sum(dim=1).argmin())
            counts[own] += 1
            centres[own] += (points[number] - centres[own]) / counts[own]
        found = torch.cdist(points, centres).argmin(dim=1)
        if torch.equal(found, before):
            break
        before = found
    return before


def corrected_for_oversampling(logits: Tensor, proportion: float) -> Tensor:
    """Log-posteriors of a specialist that saw its own classes too often: log(proportion) is added to the dustbin's
    logit (section 5.3).

    Args:
        logits: (labels, special + 1), the dustbin last.
        proportion: how many times more often than in all data the specialist met its own classes, relative to others.

    Returns:
        (labels, special + 1) log-posteriors.
    """
    shift = logits.new_zeros(logits.shape[1])
    shift[-1] = torch.tensor(proportion, dtype=logits.dtype).log()
    return (logits + shift).log_softmax(dim=1)


def combined_posterior(general: Tensor, specialists: Sequence[SpecialPosterior], *, steps: int = 100) -> Tensor:
    """The posterior q that is least in KL(p_g || q) + sum_m KL(p_m || q_m) (equation 5), where q_m has the sum of q
    over a specialist's dustbin.

    The paper goes down the gradient of q's logits. The sum is, but for a constant, the negative log-likelihood of q for
    counts some of which are known only in groups, so that expectation maximisation (Dempster, Laird, Rubin 1977) finds
    the same minimum without a learning rate: every dustbin's posterior is shared among its classes as q shares it, and
    the shares are averaged.

    Args:
        general: (labels, classes) log-posteriors p_g of the generalist.
        specialists: posteriors p_m of the specialists that are asked about these labels.
        steps: of expectation maximisation; each leaves the sum as it is or makes it smaller.

    Returns:
        (labels, classes) log-posteriors.
    """
    p = general.exp()
    known, dustbins = p, []
    for one in specialists:
        own = one.log_posteriors.exp()
        known = known.index_add(1, one.classes, own[:, :-1])
        outside = torch.ones(p.shape[1], dtype=p.dtype, device=p.device).index_fill(0, one.classes, 0.0)
        dustbins.append((own[:, -1:], outside))
    least = torch.finfo(p.dtype).tiny
    q = known / known.sum(dim=1, keepdim=True)
    for _ in range(steps if dustbins else 0):
        shared = known
        for mass, outside in dustbins:
            others = q * outside
            shared = shared + mass * others / others.sum(dim=1, keepdim=True).clamp_min(least)
        q = shared / shared.sum(dim=1, keepdim=True)
    return q.log()
