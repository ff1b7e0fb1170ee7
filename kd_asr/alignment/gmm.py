"""Gaussian mixtures with diagonal covariances, one mixture per pdf; likelihoods and statistics are matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_LOG_2_PI = float(np.log(2 * np.pi))
_UNLIKELY = -1e10
_BLOCK = 8192  # frames


@dataclass(frozen=True)
class Mixtures:
    """All Gaussians of all pdfs, those of one pdf next to each other.

    Attributes:
        pdf: (gaussians,) int64, ascending: the pdf each Gaussian belongs to. Every pdf has at least one.
        weights: (gaussians,) float32, summing to one over each pdf.
        means: (gaussians, dimension) float32.
        variances: (gaussians, dimension) float32.
    """

    pdf: NDArray[np.int64]
    weights: Floats
    means: Floats
    variances: Floats

    @property
    def num_pdfs(self) -> int:
        """Number of mixtures."""
        return int(self.pdf[-1]) + 1

    @property
    def first(self) -> NDArray[np.int64]:
        """(pdfs,) index of the first Gaussian of each pdf."""
        return np.searchsorted(self.pdf, np.arange(self.num_pdfs))

    @cached_property
    def _products(self) -> tuple[Floats, Floats]:
        """A log-density is linear in (x, x squared): (gaussians, 2 dimension) weights, (gaussians, 1) constants."""
        precision = 1.0 / self.variances
        constants = np.log(np.maximum(self.weights, 1e-20)) - 0.5 * (
            self.means.shape[1] * _LOG_2_PI + np.log(self.variances).sum(1) + (self.means**2 * precision).sum(1)
        )
        products = np.concatenate([self.means * precision, -0.5 * precision], axis=1)
        return products, np.asarray(constants[:, None], dtype=np.float32)

    def log_gaussians(self, observations: Floats, members: slice | NDArray[np.int64]) -> Floats:
        """(members, frames) log of weight times density of (frames, dimension) observations, for some Gaussians."""
        weights, constants = self._products
        products = weights[members] @ np.concatenate([observations, np.square(observations)], axis=1).T
        products += constants[members]
        return np.asarray(products, dtype=np.float32)

    def log_likelihoods(self, observations: Floats, pdfs: NDArray[np.int64]) -> Floats:
        """Natural log-likelihoods of some pdfs.

        Args:
            observations: (frames, dimension) float32.
            pdfs: pdfs to compute, ascending; the columns of all others get a very low value.

        Returns:
            (frames, num_pdfs) float32.
        """
        members = np.flatnonzero(np.isin(self.pdf, pdfs))
        logs = self.log_gaussians(observations, members)
        bounds = np.searchsorted(self.pdf[members], [*pdfs, self.num_pdfs])
        sums = np.empty((len(pdfs), len(observations)), dtype=np.float32)
        for place, (first, last) in enumerate(pairwise(bounds)):
            sums[place] = _log_sum(logs[first:last])
        result = np.full((len(observations), self.num_pdfs), _UNLIKELY, dtype=np.float32)
        result[:, pdfs] = sums.T
        return result


def _log_sum(logs: Floats) -> Floats:
    """(frames,) logarithm of the sum of exponentials over the first axis; `logs` is overwritten."""
    largest: Floats = np.asarray(logs.max(axis=0), dtype=np.float32)
    if len(logs) > 1:
        logs -= largest
        largest += np.log(np.exp(logs, out=logs).sum(axis=0))
    return largest


@dataclass
class Statistics:
    """Statistics for the M-step: zeroth, first and second moments of each Gaussian, in float64.

    Attributes:
        occupancy: (gaussians,).
        sums: (gaussians, dimension).
        squares: (gaussians, dimension).
        log_likelihood: sum over frames of the aligned pdf's log-likelihood.
        frames: number of frames.
    """

    occupancy: Doubles
    sums: Doubles
    squares: Doubles
    log_likelihood: float
    frames: int

    @classmethod
    def zeros(cls, gaussians: int, dimension: int) -> Statistics:
        """Statistics of no frames."""
        return cls(np.zeros(gaussians), np.zeros((gaussians, dimension)), np.zeros((gaussians, dimension)), 0.0, 0)

    def __iadd__(self, other: Statistics) -> Statistics:
        self.occupancy += other.occupancy
        self.sums += other.sums
        self.squares += other.squares
        self.log_likelihood += other.log_likelihood
        self.frames += other.frames
        return self


def accumulate(mixtures: Mixtures, observations: Floats, pdfs: NDArray[np.integer]) -> Statistics:
    """E-step given a state alignment: each frame is shared among the Gaussians of its pdf by their posteriors.

    Args:
        mixtures: the model.
        observations: (frames, dimension) float32.
        pdfs: (frames,) pdf of each frame.
    """
    statistics = Statistics.zeros(len(mixtures.pdf), observations.shape[1])
    order = np.argsort(pdfs, kind="stable")
    bounds = np.searchsorted(pdfs[order], np.arange(mixtures.num_pdfs + 1))
    firsts = [*mixtures.first, len(mixtures.pdf)]
    # Pdf by pdf: a frame needs only the Gaussians of its own pdf.
    for pdf in np.flatnonzero(np.diff(bounds)):
        span = slice(firsts[pdf], firsts[pdf + 1])
        # Block by block: products are summed in float32, blocks in float64.
        for start in range(bounds[pdf], bounds[pdf + 1], _BLOCK):
            mine = observations[order[start : min(start + _BLOCK, bounds[pdf + 1])]]
            posteriors = mixtures.log_gaussians(mine, span)
            total = _log_sum(posteriors.copy())
            posteriors -= total
            np.exp(posteriors, out=posteriors)
            statistics.occupancy[span] += posteriors.sum(axis=1, dtype=np.float64)
            statistics.sums[span] += posteriors @ mine
            statistics.squares[span] += posteriors @ np.square(mine)
            statistics.log_likelihood += float(total.sum(dtype=np.float64))
    statistics.frames = len(observations)
    return statistics


def maximise(
    mixtures: Mixtures, statistics: Statistics, *, variance_floor: Floats, min_occupancy: float = 10.0
) -> Mixtures:
    """M-step: new weights, means and variances; a Gaussian with too few frames is dropped.

    Args:
        mixtures: model that the statistics were made with.
        statistics: statistics of all data.
        variance_floor: (dimension,) smallest variance.
        min_occupancy: smallest number of frames of a Gaussian; the largest Gaussian of a pdf always stays, unchanged
            if it has fewer.
    """
    occupancy = statistics.occupancy
    best = np.zeros(len(occupancy), dtype=bool)
    for first, last in zip(mixtures.first, [*mixtures.first[1:], len(occupancy)], strict=True):
        best[first + int(np.argmax(occupancy[first:last]))] = True
    seen = occupancy >= min_occupancy
    keep = seen | best
    count = np.maximum(occupancy, 1e-10)[:, None]
    means = np.where(seen[:, None], statistics.sums / count, mixtures.means)
    variances = np.where(seen[:, None], statistics.squares / count - np.square(means), mixtures.variances)
    pdf = mixtures.pdf[keep]
    share = np.maximum(occupancy[keep], 1e-10)
    weights = share / np.bincount(pdf, weights=share)[pdf]
    return Mixtures(
        pdf,
        weights.astype(np.float32),
        means[keep].astype(np.float32),
        np.maximum(variances[keep], variance_floor).astype(np.float32),
    )


def split(mixtures: Mixtures, occupancy: Doubles, target: int, *, power: float = 0.25, step: float = 0.1) -> Mixtures:
    """Split the heaviest Gaussians in two until there are `target`, shared among the pdfs by occupancy ** `power`.

    Args:
        mixtures: the model.
        occupancy: (gaussians,) frames of each Gaussian.
        target: total number of Gaussians; a pdf never gets more than one for every 20 of its frames.
        power: Kaldi's 0.25 gives frequent pdfs more Gaussians, but not in proportion.
        step: distance of the two means from the old one, in standard deviations.
    """
    frames = np.bincount(mixtures.pdf, weights=occupancy, minlength=mixtures.num_pdfs)
    have = np.bincount(mixtures.pdf, minlength=mixtures.num_pdfs)
    share = np.maximum(frames, 1.0) ** power
    target_counts = np.minimum(np.maximum(have, np.floor(share / share.sum() * target)), np.maximum(1, frames // 20))
    weights = list(mixtures.weights)
    members_of: list[list[int]] = [list(np.flatnonzero(mixtures.pdf == pdf)) for pdf in range(mixtures.num_pdfs)]
    means, variances = list(mixtures.means), list(mixtures.variances)
    for pdf, members in enumerate(members_of):
        while len(members) < target_counts[pdf]:
            heaviest = max(members, key=lambda index: float(weights[index]))
            offset = step * np.sqrt(variances[heaviest])
            weights[heaviest] = weights[heaviest] / 2
            members.append(len(weights))
            weights.append(weights[heaviest])
            means.append(means[heaviest] + offset)
            means[heaviest] = means[heaviest] - offset
            variances.append(variances[heaviest])
    order = [index for members in members_of for index in members]
    pdf_of = np.repeat(np.arange(mixtures.num_pdfs), [len(members) for members in members_of])
    return Mixtures(
        pdf_of,
        np.array(weights, dtype=np.float32)[order],
        np.stack(means).astype(np.float32)[order],
        np.stack(variances).astype(np.float32)[order],
    )
