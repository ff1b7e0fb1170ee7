"""Intervals over the seeds of a training: results that other seeds would give on the same test set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student_t

from kd_asr.evaluation.significance import CONFIDENCE, Difference


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Student's t interval of the mean of normally distributed values; None for fewer than two of them."""
    if len(values) < 2:
        return None
    half = _quantile(len(values), confidence) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    mean = float(np.mean(values))
    return mean - half, mean + half


def mean_difference(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Difference | None:
    """Mean of the first minus mean of the second, by Welch's t test (B. L. Welch, Biometrika 34, 1947): the seeds of
    either are independent of the other's, and their variances may differ.

    Returns:
        The difference with its interval and two-sided p-value; None for fewer than two values on a side, or where no
        value differs from the others of its side.
    """
    if min(len(first), len(second)) < 2 or len(set(first)) == len(set(second)) == 1:
        return None
    value = float(np.mean(first)) - float(np.mean(second))
    each = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]  # variances of the means
    error = math.sqrt(sum(each))
    freedom = sum(each) ** 2 / sum(
        one**2 / (len(values) - 1) for one, values in zip(each, (first, second), strict=True)
    )
    half = float(student_t.ppf(0.5 + confidence / 2, freedom)) * error
    return Difference(value, (value - half, value + half), float(2 * student_t.sf(abs(value) / error, freedom)))


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Fieller's interval of the ratio of two means, from pairs (E. C. Fieller, JRSS B 16, 1954).

    It holds the ratios r for which the mean of numerator - r * denominator is not significantly different from 0 by a
    t test over the pairs.

    Returns:
        The ends; None for fewer than two pairs, or where the denominator's mean is not significantly different from 0,
        so that the data do not bound the ratio.
    """
    count = len(numerators)
    if count < 2:
        return None
    top, bottom = float(np.mean(numerators)), float(np.mean(denominators))
    covariance = np.cov(numerators, denominators) * (_quantile(count, confidence) ** 2 / count)
    # (top - r bottom)^2 <= t^2 (s_aa - 2 r s_ab + r^2 s_bb) / n is quadratic in r.
    a = bottom**2 - covariance[1, 1]
    b = top * bottom - covariance[0, 1]
    c = top**2 - covariance[0, 0]
    if a <= 0:
        return None
    root = math.sqrt(max(0.0, b * b - a * c))
    return float((b - root) / a), float((b + root) / a)


def _quantile(count: int, confidence: float) -> float:
    return float(student_t.ppf(0.5 + confidence / 2, count - 1))
