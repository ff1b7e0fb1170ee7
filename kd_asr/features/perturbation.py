"""Perturbed copies of utterances, with other speakers, rates and microphones, from finished log-mel frames.

A copy has its frequency axis warped (`features.vocal_tract`), its time axis stretched, and a smooth curve over
frequency added to all its frames, as another microphone or room would. Audio is not read again.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd_asr.features.settings import FeatureSettings
from kd_asr.features.vocal_tract import warp_matrix

# Number of different warps, few enough to compute each matrix once.
_WARPS = 33


@dataclass(frozen=True)
class Perturbation:
    """Perturbation of one copy of an utterance.

    Attributes:
        warp: Factor of the frequency axis; above 1, formants move up.
        rate: Factor of the rate of speech; above 1, the copy is shorter.
        curve: Weights of the first three Legendre polynomials over the bins, added to normalised frames.
    """

    warp: float
    rate: float
    curve: tuple[float, float, float]


@dataclass(frozen=True)
class Spread:
    """Ranges from which perturbations are drawn.

    Attributes:
        warp: Largest change of the frequency axis: 0.15 draws factors from 0.85 to 1.15.
        rate: Largest change of the rate of speech.
        curve: Standard deviation of each weight of the curve.
    """

    warp: float
    rate: float
    curve: float


def draw(spread: Spread, *, seed: int, utterance_id: str, copy: int) -> Perturbation:
    """The perturbation of one copy, which depends only on the arguments."""
    rng = np.random.default_rng([seed, zlib.crc32(utterance_id.encode()), copy])
    step = int(rng.integers(_WARPS))
    warp = 1.0 + spread.warp * (2 * step / (_WARPS - 1) - 1)
    rate = 1.0 + spread.rate * float(rng.uniform(-1, 1))
    first, second, third = (spread.curve * float(value) for value in rng.standard_normal(3))
    return Perturbation(warp, rate, (first, second, third))


def copied_frames(count: int, perturbation: Perturbation) -> int:
    """Number of frames in the copy of an utterance with `count` frames."""
    return max(1, round(count / perturbation.rate))


def perturb(
    frames: NDArray[np.float32], perturbation: Perturbation, features: FeatureSettings
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One copy of an utterance.

    Args:
        frames: (frames, bins), normalised.
        perturbation: perturbation of the copy.
        features: settings of the filterbank.

    Returns:
        (copied frames, bins) float32, and (copied frames,) int64, the nearest frame of the original, whose label is
        that of the copied frame.
    """
    count = copied_frames(len(frames), perturbation)
    position = np.minimum(np.arange(count) * perturbation.rate, len(frames) - 1)
    below = np.minimum(position.astype(np.int64), max(0, len(frames) - 2))
    above = np.minimum(below + 1, len(frames) - 1)
    share = (position - below).astype(np.float32)[:, None]
    stretched = frames[below] * (1 - share) + frames[above] * share
    warped = stretched @ warp_matrix(perturbation.warp, features).numpy()
    x = np.linspace(-1.0, 1.0, frames.shape[1])
    polynomials = np.stack([np.ones_like(x), x, 1.5 * x**2 - 0.5])
    curve = np.asarray(perturbation.curve) @ polynomials
    return (warped + curve.astype(np.float32)).astype(np.float32), np.rint(position).astype(np.int64)
