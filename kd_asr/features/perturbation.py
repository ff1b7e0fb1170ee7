"""Perturbed copies of utterances: other speakers, other rates and other microphones, from finished log-mel frames.

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

# Warps are drawn from so many, so that their matrices are made once.
_WARPS = 33


@dataclass(frozen=True)
class Perturbation:
    """What is done to one copy of an utterance.

    Attributes:
        warp: factor of the frequency axis; above 1 formants move up.
        rate: of speech; above 1 the copy is shorter.
        curve: weights of the first three Legendre polynomials over the bins, added to normalised frames.
    """

    warp: float
    rate: float
    curve: tuple[float, float, float]


@dataclass(frozen=True)
class Spread:
    """How far copies may be from the original.

    Attributes:
        warp: largest change of the frequency axis: 0.15 draws factors from 0.85 to 1.15.
        rate: largest change of the rate of speech.
        curve: standard deviation of each weight of the curve.
    """

    warp: float
    rate: float
    curve: float


def draw(spread: Spread, *, seed: int, utterance_id: str, copy: int) -> Perturbation:
    """The perturbation of one copy: a function of the arguments alone, whatever else is drawn."""
    rng = np.random.default_rng([seed, zlib.crc32(utterance_id.encode()), copy])
    step = int(rng.integers(_WARPS))
    warp = 1.0 + spread.warp * (2 * step / (_WARPS - 1) - 1)
    rate = 1.0 + spread.rate * float(rng.uniform(-1, 1))
    first, second, third = (spread.curve * float(value) for value in rng.standard_normal(3))
    return Perturbation(warp, rate, (first, second, third))


def copied_frames(count: int, perturbation: Perturbation) -> int:
    """Frames of the copy of an utterance of `count` frames."""
    return max(1, round(count / perturbation.rate))


def perturb(
    frames: NDArray[np.float32], perturbation: Perturbation, features: FeatureSettings
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One copy of an utterance.

    Args:
        frames: (frames, bins), normalised.
        perturbation: what is done.
        features: of the filterbank.

    Returns:
        (copied frames, bins) float32, and (copied frames,) the frame of the original that lies nearest to each: its
        label is the copy's.
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
