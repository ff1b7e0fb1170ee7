"""The bootstrap against closed forms, a loop written out, and its coverage in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kd_asr.evaluation import significance
from kd_asr.evaluation.significance import (
    Estimate,
    difference,
    estimate_ratios,
    holm,
    mean_estimate,
    share_of_gain,
    sum_by_group,
)


def test_spread_of_bernoulli_errors() -> None:
    # One word an utterance, wrong in 60 of 200: the bootstrap variance of a mean is exactly p (1 - p) / n.
    errors = np.repeat([1, 0], [60, 140])
    (estimate,) = estimate_ratios([errors], np.ones(200), resamples=20_000)
    assert estimate.value == pytest.approx(0.3)
    assert estimate.resampled.std() == pytest.approx(math.sqrt(0.3 * 0.7 / 200), rel=0.02)
    half_width = 1.96 * math.sqrt(0.3 * 0.7 / 200)
    assert estimate.interval() == pytest.approx((0.3 - half_width, 0.3 + half_width), abs=0.006)


def test_spread_of_a_ratio_of_sums() -> None:
    # Delta method for unequal lengths: var = sum (errors - wer words)^2 / (sum words)^2.
    generator = np.random.default_rng(1)
    words = generator.integers(1, 40, 400)
    errors = generator.binomial(words, 0.2)
    (estimate,) = estimate_ratios([errors], words)
    wer = errors.sum() / words.sum()
    expected = math.sqrt(((errors - wer * words) ** 2).sum()) / words.sum()
    assert estimate.resampled.std() == pytest.approx(expected, rel=0.03)


def test_against_a_written_out_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    words = generator.integers(1, 20, 13)
    errors = generator.integers(0, 5, (2, 13))
    estimates = estimate_ratios(errors, words, resamples=50, seed=9)
    replay = np.random.default_rng(9)
    for resample in range(50):
        drawn = replay.integers(13, size=13)
        for system in range(2):
            expected = errors[system, drawn].sum() / words[drawn].sum()
            assert estimates[system].resampled[resample] == pytest.approx(expected)
    # The same draws in blocks.
    monkeypatch.setattr(significance, "_BLOCK_ENTRIES", 13 * 7)
    blocks = estimate_ratios(errors, words, resamples=50, seed=9)
    np.testing.assert_array_equal(blocks[1].resampled, estimates[1].resampled)


def test_pairing_removes_what_is_common() -> None:
    # Both systems share wild utterance effects; the second makes exactly one error more on every tenth utterance.
    generator = np.random.default_rng(3)
    words = np.full(300, 20)
    first = generator.integers(0, 15, 300)
    second = first + (np.arange(300) % 10 == 0)
    a, b = estimate_ratios([first, second], words)
    result = difference(b, a)
    spread = math.sqrt(0.1 * 0.9 / 300) / 20
    assert result.value == pytest.approx(30 / 6000)
    assert result.interval[0] == pytest.approx(30 / 6000 - 1.96 * spread, abs=2e-4)
    assert result.interval[1] == pytest.approx(30 / 6000 + 1.96 * spread, abs=2e-4)
    assert result.p_value == pytest.approx(2 / 10_001)
    # Unpaired, the intervals would overlap widely.
    assert a.interval()[1] > b.interval()[0]


def test_p_value_of_equal_systems_is_one() -> None:
    (a, b) = estimate_ratios([[1, 0, 2], [1, 0, 2]], [3, 3, 3], resamples=100)
    assert difference(a, b).p_value == 1.0
    assert difference(a, b).interval == (0.0, 0.0)


def test_p_value_definition() -> None:
    a = Estimate(1.0, np.array([2.0, 1.0, -1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 0.0]))
    zero = Estimate(0.0, np.zeros(9))
    # Two draws of nine are <= 0; the set itself counts as one more.
    assert difference(a, zero).p_value == pytest.approx(2 * (2 + 1) / (9 + 1))


def test_coverage_of_interval_and_level_of_test() -> None:
    generator = np.random.default_rng(4)
    covered = rejected = 0
    simulations = 300
    for simulation in range(simulations):
        words = generator.integers(5, 30, 120)
        # Utterances differ in difficulty, so words of one utterance are not independent.
        difficulty = generator.beta(2, 8, 120)
        errors = generator.binomial(words, difficulty, (2, 120))
        a, b = estimate_ratios(errors, words, resamples=400, seed=simulation)
        low, high = a.interval()
        covered += low <= 0.2 <= high
        rejected += difference(a, b).p_value < 0.05
    assert 0.90 <= covered / simulations <= 0.98
    assert 0.02 <= rejected / simulations <= 0.09


def test_share_of_gain_by_hand() -> None:
    baseline = Estimate(0.50, np.array([0.50, 0.52, 0.48, 0.50]))
    ensemble = Estimate(0.54, np.array([0.54, 0.56, 0.53, 0.55]))
    students = mean_estimate(
        [Estimate(0.53, np.array([0.53, 0.55, 0.50, 0.53])), Estimate(0.52, np.array([0.52, 0.54, 0.52, 0.54]))]
    )
    share = share_of_gain(students, baseline, ensemble, higher_is_better=True)
    assert share.value == pytest.approx(0.025 / 0.04)
    # Shares of the draws: 0.625, 0.625, 0.6, 0.7.
    assert share.interval == pytest.approx((0.6, 0.7))


def test_share_of_gain_of_wer_has_the_same_sense() -> None:
    baseline, ensemble, student = (Estimate(value, np.full(40, value)) for value in (0.30, 0.26, 0.27))
    share = share_of_gain(student, baseline, ensemble, higher_is_better=False)
    assert share.value == pytest.approx(0.75)
    assert share.interval == pytest.approx((0.75, 0.75))


def test_share_of_no_gain_is_not_a_number_to_show() -> None:
    baseline = Estimate(0.5, np.array([0.5, 0.5, 0.5, 0.5]))
    nothing = Estimate(0.5, np.array([0.52, 0.48, 0.5, 0.53]))
    share = share_of_gain(baseline, baseline, nothing, higher_is_better=True)
    assert share.value is None
    assert share.interval == (None, None)


def test_one_draw_in_a_hundred_without_gain_leaves_the_interval_finite() -> None:
    gains = np.full(100, 0.02)
    gains[7] = -0.01
    baseline = Estimate(0.5, np.full(100, 0.5))
    ensemble = Estimate(0.52, 0.5 + gains)
    student = Estimate(0.51, np.full(100, 0.51))
    assert share_of_gain(student, baseline, ensemble, higher_is_better=True).interval == pytest.approx((0.5, 0.5))


def test_grouping_by_speaker() -> None:
    sums = sum_by_group([[1, 2, 3, 4], [0, 1, 0, 1]], ["b", "a", "b", "a"])
    assert sums.tolist() == [[6, 4], [2, 0]]


def test_speakers_of_identical_utterances_widen_the_interval() -> None:
    # Ten speakers, each ten times the same utterance: the spread is that of ten draws, not of a hundred.
    errors = np.repeat([1, 0, 0, 1, 1, 0, 1, 0, 0, 1], 10)
    speakers = [str(index // 10) for index in range(100)]
    (plain,) = estimate_ratios([errors], np.ones(100))
    (by_speaker,) = estimate_ratios(sum_by_group([errors], speakers), sum_by_group([np.ones(100)], speakers))
    assert by_speaker.resampled.std() / plain.resampled.std() == pytest.approx(math.sqrt(10), rel=0.05)


def test_p_values_of_a_family_by_hand() -> None:
    # Holm's own steps: 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04, which may not be below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_refusals() -> None:
    with pytest.raises(ValueError, match="utterances"):
        estimate_ratios(np.zeros((1, 0)), np.zeros((1, 0)))
    with pytest.raises(ValueError, match="divide"):
        estimate_ratios([[1, 2]], [0, 0])


def test_draws_without_words_take_the_value_of_the_set() -> None:
    (estimate,) = estimate_ratios([[1, 0]], [2, 0], resamples=200)
    assert set(estimate.resampled.tolist()) == {0.5}
