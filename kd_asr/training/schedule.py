"""Learning-rate schedules: pure functions of the update."""

from __future__ import annotations

import math


def measuring_points(updates: int, count: int) -> list[int]:
    """At most `count` numbers of updates, rising to `updates`, each about as many times the one before.

    The first is a two-hundredth of them: on a small part of the data the best moment to stop comes early, and a network
    that was measured at even distances would have passed it.
    """
    exponents = [number / (count - 1) - 1 for number in range(count - 1)]
    return sorted({*(max(1, round(updates * 200**exponent)) for exponent in exponents), updates})


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
