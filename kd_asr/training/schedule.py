"""Learning-rate schedules: pure functions of the update."""

from __future__ import annotations

import math


def learning_rate(update: int, *, updates: int, peak: float, warmup: float) -> float:
    """Linear rise to `peak` over the first `warmup` share of the updates, then half a cosine down to 0.

    Args:
        update: counted from 0.
        updates: of the whole training.
        peak: the largest learning rate.
        warmup: share of the updates in which it rises, 0..1.
    """
    rising = warmup * updates
    if update < rising:
        return peak * (update + 1) / (rising + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (update - rising) / max(1.0, updates - rising)))
