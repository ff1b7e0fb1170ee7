import numpy as np
import pytest
from scipy.stats import ttest_ind

from kd_asr.evaluation.seeds import mean_difference, mean_interval, ratio_interval


def test_the_t_interval_by_hand() -> None:
    # Mean 3, standard deviation sqrt(2.5), t(0.975; 4) = 2.776: 3 -+ 2.776 * 0.7071.
    assert mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - 1.9632, 3 + 1.9632), abs=1e-4)
    assert mean_interval([7]) is None


def test_fieller_holds_the_ratios_that_a_t_test_accepts() -> None:
    top, bottom = np.array([60.0, 72.0, 66.0, 75.0, 58.0]), np.array([80.0, 79.0, 75.0, 82.0, 71.0])
    interval = ratio_interval(top, bottom)
    assert interval is not None
    low, high = interval
    for ratio in np.linspace(0.5, 1.2, 701):
        ends = mean_interval(top - ratio * bottom)
        assert ends is not None
        accepted = ends[0] <= 0 <= ends[1]
        assert accepted == (low <= ratio <= high) or min(abs(ratio - low), abs(ratio - high)) < 1e-6


def test_an_uncertain_denominator_bounds_nothing() -> None:
    assert ratio_interval([1.0, 2.0, 3.0], [-1.0, 1.0, 0.5]) is None
    assert ratio_interval([1.0], [2.0]) is None


def test_difference_of_means_by_hand() -> None:
    # Variances 1 and 4, so the standard error is sqrt(1/3 + 4/3), and Welch and Satterthwaite's degrees of freedom are
    # (5/3)^2 / ((1/3)^2 / 2 + (4/3)^2 / 2) = 50/17.
    first, second = [1.0, 2.0, 3.0], [2.0, 4.0, 6.0]
    found, expected = mean_difference(first, second), ttest_ind(first, second, equal_var=False)
    assert found is not None
    assert expected.df == pytest.approx(50 / 17)
    assert found.value == -2
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_one_seed_or_equal_seeds_say_nothing_of_others() -> None:
    assert mean_difference([1.0], [2.0, 3.0]) is None
    assert mean_difference([1.0, 1.0], [2.0, 2.0]) is None
    assert mean_difference([1.0, 1.0], [2.0, 3.0]) is not None
