"""Expected calibration error against sums by hand and a loop over bins."""

import json

import numpy as np
import pytest

from kd_asr.evaluation.calibration import BINS, Calibration, calibrate, join_calibrations


def test_four_labels_by_hand() -> None:
    # Bin 14, (14/15, 1]: accuracy 1/2, confidence .95. Bin 8, (8/15, 9/15]: 1 and .55. Bin 2 ends with 3/15: 0 and .2.
    made = calibrate([0.95, 0.95, 0.55, 0.2], [True, False, True, False])
    assert np.flatnonzero(made.labels).tolist() == [2, 8, 14]
    assert made.error == pytest.approx((2 * abs(0.5 - 0.95) + abs(1 - 0.55) + abs(0 - 0.2)) / 4)


def test_ends_of_the_range_and_rounding_above_one() -> None:
    made = calibrate([0.0, 1 / BINS, 1.0, 1.0000001], [False, False, True, True])
    assert made.labels.tolist() == [2, *[0] * (BINS - 2), 2]
    assert calibrate([1.0, 1.0], [True, True]).error == 0
    assert np.isnan(calibrate([], []).error)


def test_many_labels_against_a_loop() -> None:
    rng = np.random.default_rng(3)
    confidence, correct = rng.uniform(0.05, 1, 2000).astype(np.float32), rng.random(2000) < 0.6
    expected = 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean(dtype=np.float64))
    made = calibrate(confidence, correct)
    assert made.error == pytest.approx(expected, rel=1e-6)
    parts = [calibrate(confidence[first : first + 700], correct[first : first + 700]) for first in range(0, 2000, 700)]
    assert join_calibrations(parts).error == pytest.approx(made.error, rel=1e-12)
    assert Calibration.from_json(json.loads(json.dumps(made.to_json()))).error == made.error


def test_another_number_of_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 15 bins"):
        Calibration.from_json({"labels": [1], "correct": [1], "confidence_sum": [0.5]})
