"""Gaussian mixtures of frames whose pdfs are known: alternating splits and EM passes, without realignment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.gmm import Doubles, Floats, Mixtures, accumulate, maximise, split

VARIANCE_FLOOR = 0.01  # of the variance over all frames
_GROWTH = 6  # passes in which the number of Gaussians grows
_REST = 5  # passes after the last split: the two halves of a Gaussian begin close together and drift apart slowly


def one_gaussian(mean: NDArray[np.floating], variance: NDArray[np.floating], num_pdfs: int) -> Mixtures:
    """The same Gaussian, (dimension,) mean and variance, for every pdf."""
    return Mixtures(
        np.arange(num_pdfs),
        np.ones(num_pdfs, np.float32),
        np.tile(mean.astype(np.float32), (num_pdfs, 1)),
        np.tile(np.maximum(variance, 1e-6).astype(np.float32), (num_pdfs, 1)),
    )


def occupancy_of(mixtures: Mixtures, frames: NDArray[np.number]) -> Doubles:
    """(gaussians,) frames of each Gaussian, for (pdfs,) frames of each pdf."""
    return np.asarray(frames[mixtures.pdf] * mixtures.weights, dtype=np.float64)


def fit_mixtures(
    observations: Floats,
    pdfs: NDArray[np.integer],
    *,
    num_pdfs: int,
    gaussians: int,
    advance: Callable[[float], None] = lambda share: None,
) -> tuple[Mixtures, list[float]]:
    """Fit mixtures that begin with one Gaussian per pdf and get more after each EM pass.

    Args:
        observations: (frames, dimension) float32.
        pdfs: (frames,) pdf of each frame.
        num_pdfs: number of mixtures; one whose pdf has no frames is the Gaussian of all frames.
        gaussians: total number of Gaussians at the end.
        advance: called with the share of the work that was just done.

    Returns:
        The mixtures, and the log-likelihood per frame in nats of the model that each EM pass began with.
    """
    order = np.argsort(pdfs, kind="stable")
    observations, pdfs = observations[order], pdfs[order]
    frames = np.bincount(pdfs, minlength=num_pdfs)
    mixtures = one_gaussian(observations.mean(axis=0), observations.var(axis=0), num_pdfs)
    floor = VARIANCE_FLOOR * mixtures.variances[0]
    growth = np.geomspace(1.0, max(1.0, gaussians / num_pdfs), _GROWTH + 1)[1:]
    targets = [num_pdfs, *(round(num_pdfs * factor) for factor in growth), *[gaussians] * _REST]
    log_likelihoods = []
    for number, target in enumerate(targets):
        statistics = accumulate(mixtures, observations, pdfs)
        log_likelihoods.append(statistics.log_likelihood / len(observations))
        mixtures = maximise(mixtures, statistics, variance_floor=floor)
        if number < len(targets) - 1:
            mixtures = split(mixtures, occupancy_of(mixtures, frames), target)
        advance(1 / len(targets))
    return mixtures, log_likelihoods
