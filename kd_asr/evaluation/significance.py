"""Confidence intervals and paired comparisons by the bootstrap over utterances.

M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004:
a sample of utterances, as large as the set, is drawn with replacement, and the figure of the set (errors / words, or
correct frames / frames) is computed for each draw. All systems are computed on the same draws, so that differences
between them are not affected by utterances that are hard for every system (the paired bootstrap). The draws say what
other utterances of the same kind would give. They do not say what other seeds of the training would give: the spread
over seeds has to be shown beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
CONFIDENCE = 0.95
_BLOCK_ENTRIES = 4_000_000  # entries of the table of draws that are in memory at once (32 MB)


@dataclass(frozen=True)
class Estimate:
    """A figure of a set of utterances.

    Attributes:
        value: Figure of the set itself.
        resampled: (resamples,) float64, figure of each draw. Estimates of one call share the draws.
    """

    value: float
    resampled: NDArray[np.float64]

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Percentile interval: the quantiles (1 - confidence) / 2 and (1 + confidence) / 2 of the draws."""
        return _quantiles(self.resampled, self.resampled, confidence)


@dataclass(frozen=True)
class Difference:
    """One figure minus another on the same utterances.

    Attributes:
        value: Difference on the set itself.
        interval: Percentile interval of the difference over the draws.
        p_value: Two-sided p-value: twice the smaller share of draws with a difference <= 0 or >= 0, where the set
            itself counts as one more draw on either side; at most 1. It is below 1 - confidence exactly where the
            interval excludes zero (up to one draw), and never exactly 0.
    """

    value: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True)
class ShareOfGain:
    """The share of the ensemble's gain over the baseline that the student keeps.

    Attributes:
        value: (student - baseline) / (ensemble - baseline); None where the ensemble gains nothing.
        interval: Percentile interval over the draws. A draw in which the ensemble gains nothing says nothing about the
            share: it counts as minus infinity for the lower end and as plus infinity for the upper end. An end that
            becomes infinite is None: the data do not bound the share.
    """

    value: float | None
    interval: tuple[float | None, float | None]


def _quantiles(
    low: NDArray[np.float64], high: NDArray[np.float64], confidence: float
) -> tuple[float, float]:
    """Lower quantile of `low` and upper quantile of `high`."""
    # `inverted_cdf` takes values that occur and does not interpolate, so infinite ones do not affect others.
    tail = (1 - confidence) / 2
    return (
        float(np.quantile(low, tail, method="inverted_cdf")),
        float(np.quantile(high, 1 - tail, method="inverted_cdf")),
    )


def estimate_ratios(
    numerators: ArrayLike, denominators: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Estimate]:
    """Ratios of sums over utterances, for several systems on the same draws.

    The WER is errors / reference words, the frame accuracy is correct frames / frames.

    Args:
        numerators: (systems, utterances) counts.
        denominators: (systems, utterances) counts or, if equal for all systems, (utterances,).
        resamples: number of draws.
        seed: seed of the draws, which depend only on it and on the number of utterances.

    Returns:
        One estimate per system. A draw whose denominators are all 0 has the value of the set.

    Raises:
        ValueError: there are no utterances, or a sum of denominators is zero.
    """
    top = np.asarray(numerators, dtype=np.float64)
    bottom = np.broadcast_to(np.asarray(denominators, dtype=np.float64), top.shape)
    if top.ndim != 2 or top.shape[1] == 0:
        raise ValueError(f"expected numerators (systems, utterances) with utterances, got shape {top.shape}")
    if not (bottom.sum(axis=1) > 0).all():
        raise ValueError("a system has nothing to divide by: no reference words or no frames")
    systems, utterances = top.shape
    value = top.sum(axis=1) / bottom.sum(axis=1)
    sums = np.concatenate([top, bottom]).T  # (utterances, 2 systems)
    generator = np.random.default_rng(seed)
    resampled = np.empty((systems, resamples))
    block = max(1, _BLOCK_ENTRIES // utterances)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(utterances, size=(rows, utterances))
        drawn += utterances * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * utterances).reshape(rows, utterances)
        # (rows, utterances) times (utterances, 2 systems): how often each utterance was drawn, times its counts.
        totals = (times.astype(np.float64) @ sums).T
        drawn_bottom = totals[systems:]
        ratio = np.broadcast_to(value[:, None], drawn_bottom.shape).copy()
        np.divide(totals[:systems], drawn_bottom, out=ratio, where=drawn_bottom > 0)
        resampled[:, start : start + rows] = ratio
    return [Estimate(float(value[system]), resampled[system]) for system in range(systems)]


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """Mean over systems, such as students with different seeds, inside each draw."""
    return Estimate(
        float(np.mean([estimate.value for estimate in estimates])),
        np.mean([estimate.resampled for estimate in estimates], axis=0),
    )


def difference(first: Estimate, second: Estimate, confidence: float = CONFIDENCE) -> Difference:
    """First minus second, paired: both must come from one call of `estimate_ratios`, or from means of its results."""
    differences = first.resampled - second.resampled
    resamples = len(differences)
    smaller_side = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return Difference(
        value=first.value - second.value,
        interval=_quantiles(differences, differences, confidence),
        p_value=min(1.0, 2 * (smaller_side + 1) / (resamples + 1)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values for a family of comparisons, so that the chance of any one below a level without an effect is at most
    that level (Holm 1979): the k-th smallest of m is multiplied by m - k + 1, none is below a smaller one, at most 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=lambda one: p_values[one])):
        largest = max(largest, min(1.0, p_values[number] * (len(p_values) - place)))
        adjusted[number] = largest
    return adjusted


def share_of_gain(
    student: Estimate,
    baseline: Estimate,
    ensemble: Estimate,
    *,
    higher_is_better: bool,
    confidence: float = CONFIDENCE,
) -> ShareOfGain:
    """(student - baseline) / (ensemble - baseline) with its interval; paired as in `difference`."""
    sign = 1.0 if higher_is_better else -1.0
    gain = sign * (ensemble.value - baseline.value)
    kept = sign * (student.value - baseline.value)
    gains = sign * (ensemble.resampled - baseline.resampled)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = sign * (student.resampled - baseline.resampled) / gains
    low, high = _quantiles(
        np.where(gains > 0, shares, -np.inf), np.where(gains > 0, shares, np.inf), confidence
    )
    return ShareOfGain(
        value=kept / gain if gain > 0 else None,
        interval=(low if math.isfinite(low) else None, high if math.isfinite(high) else None),
    )


def sum_by_group(counts: ArrayLike, groups: Sequence[str]) -> NDArray[Any]:
    """Sums of counts (systems, utterances) over the utterances of each group, such as a speaker: (systems, groups).

    Utterances of one speaker are hard or easy together. Passing these sums to `estimate_ratios` resamples whole
    speakers instead of utterances, which accounts for that; it needs many speakers.
    """
    table = np.asarray(counts)
    _, group_of_utterance = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((table.shape[0], int(group_of_utterance.max()) + 1), dtype=table.dtype)
    np.add.at(sums.T, group_of_utterance, table.T)
    return sums
