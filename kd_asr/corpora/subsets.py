"""Small parts of a training set, nested: each fraction's part lies inside every larger one's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def subset_of_utterances(frame_counts: Sequence[int], fraction: float, *, seed: int) -> NDArray[np.int64]:
    """Numbers of utterances drawn until their frames are nearest to a fraction of all.

    The utterances are put into a random order that `seed` alone decides, and the first of them are taken: at least
    one, all for fraction 1.

    Args:
        frame_counts: of every utterance.
        fraction: above 0, at most 1.
        seed: of the order.

    Returns:
        (drawn,) int64, ascending.
    """
    order = np.random.default_rng(seed).permutation(len(frame_counts))
    reached = np.cumsum(np.asarray(frame_counts, dtype=np.int64)[order])
    wanted = fraction * reached[-1]
    count = 1 + int(np.abs(reached - wanted).argmin())
    return np.sort(order[:count])


def subset_of_frames(num_frames: int, fraction: float, *, seed: int) -> NDArray[np.int64]:
    """Numbers of single frames, drawn evenly from all; nested as `subset_of_utterances`, (drawn,) int64, ascending."""
    order = np.random.default_rng(seed).permutation(num_frames)
    return np.sort(order[: max(1, round(fraction * num_frames))])
