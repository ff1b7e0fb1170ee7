"""Expected calibration error: how far the posterior of chosen classes is from the share of them that are right.

Labels are sorted into 15 bins of equal width by their confidence, the largest posterior. The error is the mean over
bins of |accuracy - mean confidence|, weighted by the labels in the bin (C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On
calibration of modern neural networks", ICML 2017, equation 3, after M. P. Naeini, G. F. Cooper, M. Hauskrecht,
"Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 15


@dataclass(frozen=True, eq=False)
class Calibration:
    """Labels of a set by confidence; bin n, from 0, has those with confidence in (n / 15, (n + 1) / 15].

    Attributes:
        labels: (bins,) int64, labels in the bin.
        correct: (bins,) int64, those whose most probable class is the label.
        confidence_sum: (bins,) float64, sum of their confidences.
    """

    labels: NDArray[np.int64]
    correct: NDArray[np.int64]
    confidence_sum: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error, 0..1; NaN without labels."""
        total = int(self.labels.sum())
        # |correct - confidence_sum| of a bin is its number of labels times |accuracy - mean confidence|.
        return float(np.abs(self.correct - self.confidence_sum).sum()) / total if total else float("nan")

    def to_json(self) -> dict[str, list[float]]:
        """One plain list per field."""
        return {
            "labels": self.labels.tolist(),
            "correct": self.correct.tolist(),
            "confidence_sum": self.confidence_sum.tolist(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_json`; a missing field is a `KeyError`, another number of bins a `ValueError`."""
        found = cls(
            np.asarray(fields["labels"], dtype=np.int64),
            np.asarray(fields["correct"], dtype=np.int64),
            np.asarray(fields["confidence_sum"], dtype=np.float64),
        )
        shapes = {field.shape for field in (found.labels, found.correct, found.confidence_sum)}
        if shapes != {(BINS,)}:
            raise ValueError(f"expected {BINS} bins in each field, got {sorted(shapes)}")
        return found


def calibrate(confidence: ArrayLike, correct: ArrayLike) -> Calibration:
    """Sort labels into bins.

    Args:
        confidence: (labels,) largest posterior of each label, 0..1; rounding may leave it slightly above 1.
        correct: (labels,) bool, whether its class is the label.
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    number = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return Calibration(
        np.bincount(number, minlength=BINS).astype(np.int64),
        np.bincount(number[right], minlength=BINS).astype(np.int64),
        np.bincount(number, weights=sure, minlength=BINS).astype(np.float64),
    )


def join_calibrations(parts: Iterable[Calibration]) -> Calibration:
    """The calibration of several sets together."""
    empty = calibrate([], [])
    joined = [empty, *parts]
    return Calibration(
        np.sum([one.labels for one in joined], axis=0),
        np.sum([one.correct for one in joined], axis=0),
        np.sum([one.confidence_sum for one in joined], axis=0),
    )
