"""Sets of confusable classes, for specialists beside a generalist (Hinton, Vinyals, Dean 2015, section 5.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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
