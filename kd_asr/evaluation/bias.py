"""Correction of the bias of classes that a network has never seen (Hinton, Vinyals, Dean 2015, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def best_bias(log_probs: np.ndarray, labels: np.ndarray, classes: Sequence[int]) -> float:
    """The bias that, added to the logits of `classes`, gives the fewest errors; an exact minimum.

    Adding it to these classes is the same as subtracting it from all others. The decision for an example changes from
    its best other class to its best one of `classes` where the bias exceeds the difference of their logits, so the
    number of errors is a step function of the bias that changes only there. The result is the middle of the widest
    interval with the fewest errors.

    Args:
        log_probs: (examples, classes) logits or log-posteriors.
        labels: (examples,) integer labels.
        classes: classes to raise, some but not all.

    Returns:
        The bias, in nats; 0 where it cannot change any error.
    """
    raised = np.isin(np.arange(log_probs.shape[1]), classes)
    inside = np.where(raised, log_probs, -np.inf)
    outside = np.where(raised, -np.inf, log_probs)
    rows = np.arange(len(labels))
    into, out_of = inside.argmax(axis=1), outside.argmax(axis=1)
    passes = (outside[rows, out_of] - inside[rows, into]).astype(np.float64)
    # Exceeding an example's difference corrects it, spoils it, or does neither.
    change = (out_of == labels).astype(np.int64) - (into == labels).astype(np.int64)
    matters = change != 0
    if not matters.any():
        return 0.0
    points, group = np.unique(passes[matters], return_inverse=True)
    steps = np.bincount(group, weights=change[matters])
    # errors[i] holds between points[i - 1] and points[i], up to a constant; beyond the ends there is no middle.
    errors = np.concatenate([[0.0], np.cumsum(steps)])
    ends = np.concatenate([[points[0] - 2.0], points, [points[-1] + 2.0]])
    widths = np.where(errors == errors.min(), np.diff(ends), -np.inf)
    widest = int(widths.argmax())
    return float((ends[widest] + ends[widest + 1]) / 2)


def add_bias(log_probs: np.ndarray, classes: Sequence[int], bias: float) -> np.ndarray:
    """(examples, classes) logits with `bias` added to those of `classes`."""
    raised = np.isin(np.arange(log_probs.shape[1]), classes)
    return log_probs + np.where(raised, np.float32(bias), np.float32(0.0))
