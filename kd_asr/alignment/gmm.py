"""Gaussian mixtures with diagonal covariances, one mixture per pdf; likelihoods and statistics are matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_LOG_2_PI = float(np.log(2 * np.pi))
_UNLIKELY = -1e10


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

    def only(self, span: slice) -> Mixtures:
        """The Gaussians of a span, as a model of their own whose pdf numbers mean nothing."""
        return Mixtures(self.pdf[span], self.weights[span], self.means[span], self.variances[span])

    def log_gaussians(self, observations: Floats) -> Floats:
        """(frames, gaussians) log of weight times density of (frames, dimension) observations."""
        precision = 1.0 / self.variances
        constant = np.log(np.maximum(self.weights, 1e-20)) - 0.5 * (
            observations.shape[1] * _LOG_2_PI + np.log(self.variances).sum(1) + (self.means**2 * precision).sum(1)
        )
        linear = observations @ (self.means * precision).T
        return np.asarray(linear - 0.5 * (np.square(observations) @ precision.T) + constant, dtype=np.float32)

    def log_likelihoods(self, observations: Floats, pdfs: NDArray[np.int64]) -> Floats:
        """Log-likelihoods, natural logarithm, of some pdfs.

        Args:
            observations: (frames, dimension) float32.
            pdfs: those that are wanted, ascending; the others' columns are filled with a value that is very unlikely.

        Returns:
            (frames, num_pdfs) float32.
        """
        wanted = np.isin(self.pdf, pdfs)
        part = Mixtures(self.pdf[wanted], self.weights[wanted], self.means[wanted], self.variances[wanted])
        logs = part.log_gaussians(observations)
        first = np.searchsorted(part.pdf, pdfs)
        largest = np.maximum.reduceat(logs, first, axis=1)
        logs -= np.repeat(largest, np.diff(first, append=len(part.pdf)), axis=1)
        result = np.full((len(observations), self.num_pdfs), _UNLIKELY, dtype=np.float32)
        result[:, pdfs] = np.log(np.add.reduceat(np.exp(logs, out=logs), first, axis=1)) + largest
        return result


@dataclass
class Statistics:
    """What the M-step needs: zeroth, first and second moments by Gaussian, in float64.

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
        """Nothing seen yet."""
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
    # Pdf by pdf: a frame meets the Gaussians of its own pdf only.
    for pdf in np.flatnonzero(np.diff(bounds)):
        mine = observations[order[bounds[pdf] : bounds[pdf + 1]]]
        span = slice(firsts[pdf], firsts[pdf + 1])
        logs = mixtures.only(span).log_gaussians(mine)
        largest = logs.max(axis=1, keepdims=True)
        posteriors = np.exp(logs - largest)
        total = posteriors.sum(axis=1, keepdims=True)
        posteriors /= total
        statistics.occupancy[span] = posteriors.sum(axis=0, dtype=np.float64)
        statistics.sums[span] = posteriors.T @ mine
        statistics.squares[span] = posteriors.T @ np.square(mine)
        statistics.log_likelihood += float((np.log(total) + largest).sum(dtype=np.float64))
    statistics.frames = len(observations)
    return statistics


def maximise(
    mixtures: Mixtures, statistics: Statistics, *, variance_floor: Floats, min_occupancy: float = 10.0
) -> Mixtures:
    """M-step: weights, means and variances of the statistics; a Gaussian that saw too little is dropped.

    Args:
        mixtures: the model the statistics were made with.
        statistics: of the whole data.
        variance_floor: (dimension,) smallest variance.
        min_occupancy: frames a Gaussian needs; the best one of a pdf always stays, unchanged if it saw too little.
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
        occupancy: (gaussians,) frames each has seen.
        target: Gaussians wanted in all; a pdf never gets more than one for 20 of its frames.
        power: Kaldi's 0.25 gives frequent pdfs more Gaussians, but not in proportion.
        step: the two means lie this many standard deviations to either side.
    """
    frames = np.bincount(mixtures.pdf, weights=occupancy, minlength=mixtures.num_pdfs)
    have = np.bincount(mixtures.pdf, minlength=mixtures.num_pdfs)
    share = np.maximum(frames, 1.0) ** power
    wanted = np.minimum(np.maximum(have, np.floor(share / share.sum() * target)), np.maximum(1, frames // 20))
    weights = list(mixtures.weights)
    parts: list[list[int]] = [list(np.flatnonzero(mixtures.pdf == pdf)) for pdf in range(mixtures.num_pdfs)]
    means, variances = list(mixtures.means), list(mixtures.variances)
    for pdf, members in enumerate(parts):
        while len(members) < wanted[pdf]:
            heaviest = max(members, key=lambda index: float(weights[index]))
            offset = step * np.sqrt(variances[heaviest])
            weights[heaviest] = weights[heaviest] / 2
            members.append(len(weights))
            weights.append(weights[heaviest])
            means.append(means[heaviest] + offset)
            means[heaviest] = means[heaviest] - offset
            variances.append(variances[heaviest])
    order = [index for members in parts for index in members]
    pdf_of = np.repeat(np.arange(mixtures.num_pdfs), [len(members) for members in parts])
    return Mixtures(
        pdf_of,
        np.array(weights, dtype=np.float32)[order],
        np.stack(means).astype(np.float32)[order],
        np.stack(variances).astype(np.float32)[order],
    )
