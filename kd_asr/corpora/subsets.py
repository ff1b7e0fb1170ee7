"""Nested subsets of a training set: that of each fraction is part of those of all larger fractions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def subset_of_utterances(frame_counts: Sequence[int], fraction: float, *, seed: int) -> NDArray[np.int64]:
    """Draw utterances until their frames are closest to a fraction of all frames.

    The utterances are taken from a random order that depends only on `seed`: at least one, all for fraction 1.

    Args:
        frame_counts: number of frames of every utterance.
        fraction: share of the frames, above 0, at most 1.
        seed: seed of the order.

    Returns:
        (drawn,) int64, ascending.
    """
    order = np.random.default_rng(seed).permutation(len(frame_counts))
    reached = np.cumsum(np.asarray(frame_counts, dtype=np.int64)[order])
    wanted = fraction * reached[-1]
    count = 1 + int(np.abs(reached - wanted).argmin())
    return np.sort(order[:count])


def subset_of_frames(num_frames: int, fraction: float, *, seed: int) -> NDArray[np.int64]:
    """(drawn,) int64 numbers of single frames, ascending, drawn uniformly and nested as in `subset_of_utterances`."""
    order = np.random.default_rng(seed).permutation(num_frames)
    return np.sort(order[: max(1, round(fraction * num_frames))])
