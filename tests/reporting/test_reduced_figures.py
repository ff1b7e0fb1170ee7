from dataclasses import asdict

import numpy as np
import pytest

from kd_asr.experiments.reduced_data.arms import arm_groups
from kd_asr.reporting.reduced_figures import PAPER_ROWS, reduced_figures
from kd_asr.reporting.reduced_page import comparison_table, data_table, main_table, page, summary

GROUPS = arm_groups("audio")
STOPPED, TO_THE_END, SOFT, BOTH, _ = (group.name for group in GROUPS)
FRAMES, WORDS = np.array([100, 100, 200]), np.array([10, 10, 20])


def figures() -> dict:
    correct = {
        (0.1, STOPPED): [[40, 40, 80], [30, 30, 60]],  # 40 % and 30 %: mean 35
        (0.1, TO_THE_END): [[20, 20, 40], [20, 20, 40]],
        (0.1, SOFT): [[50, 50, 100], [50, 50, 100]],
        (0.1, BOTH): [[35, 35, 70], [35, 35, 70]],
        (1.0, STOPPED): [[60, 60, 120], [50, 50, 100]],  # mean 55
    }
    errors = {key: [[5, 5, 10], [5, 5, 10]] for key in correct}
    errors[0.1, SOFT] = [[4, 4, 8], [2, 2, 4]]
    rows = [
        {
            "fraction": fraction,
            "kind": kind,
            "part": {"frame_accuracy": 0.7},
            "dev": {"frame_accuracy": 0.5, "cross_entropy": 2.5 + repetition},
            "choice": {"acoustic_scale": 0.2},
        }
        for fraction, kind in correct
        for repetition in range(2)
    ]
    return reduced_figures(
        rows,
        GROUPS,
        {key: np.array(value) for key, value in correct.items()},
        FRAMES,
        word_errors={key: np.array(value) for key, value in errors.items()},
        words=WORDS,
    )


def test_means_shares_and_what_was_won_back() -> None:
    found = figures()
    by_key = {(one["fraction"], one["kind"]): one for one in found["systems"]}
    assert by_key[0.1, STOPPED]["test_frame_accuracy"]["mean"] == pytest.approx(0.35)
    assert by_key[0.1, STOPPED]["test_frame_accuracy"]["values"] == pytest.approx([0.4, 0.3])
    assert by_key[0.1, SOFT]["share_of_all_labels"] == pytest.approx(0.50 / 0.55)
    assert by_key[0.1, SOFT]["test_wer"]["mean"] == pytest.approx(0.3)
    assert by_key[0.1, SOFT]["dev_cross_entropy"]["mean"] == pytest.approx(3.0)
    # Every utterance has the same rates, so every draw gives the set's figure.
    assert by_key[0.1, SOFT]["test_wer_interval"] == pytest.approx((0.3, 0.3))
    compared = {(one["fraction"], one["kind"]): one for one in found["comparisons"]}
    assert set(compared) == {(0.1, SOFT), (0.1, BOTH)}
    assert compared[0.1, SOFT]["won_back"] == pytest.approx((0.50 - 0.35) / (0.55 - 0.35))
    assert compared[0.1, SOFT]["wer"]["value"] == pytest.approx(-0.2)
    assert compared[0.1, SOFT]["wer"]["p_value"] < 0.001
    assert compared[0.1, BOTH]["won_back"] == pytest.approx(0.0)
    assert compared[0.1, BOTH]["wer"]["p_value"] == 1.0


def report() -> dict:
    parts = [
        {
            "fraction": 0.1,
            "repetition": 0,
            "seconds": 61.0,
            "utterances": 3,
            "speakers": 2,
            "passes": 20.0,
            "best_pass": 2.5,
        }
    ]
    return {
        "title": "Soft targets as regularisers on a test",
        "description": "Invented.",
        "preset": "tiny",
        "seed": 1,
        "repetitions": 2,
        "updates": 100,
        "draw": "utterances",
        "groups": [asdict(group) for group in GROUPS],
        "figures": figures(),
        "parts": parts,
    }


def test_the_page_says_what_the_figures_say() -> None:
    content = report()
    assert "+15.00 points of test frame accuracy" in summary(content)
    assert "recover 75 % of" in summary(content)
    soft = next(row for row in main_table(content).rows if row[0] == "10 %: soft targets, to the end")
    assert soft[1:3] == ("70.00", "50.00")
    assert soft[5:8] == ("90.9", "3.00", "30.00")
    assert comparison_table(content).rows[0][2] == "75"
    assert data_table(content).rows == (("10 %, repetition 1", "1 min 01 s", "3", "2", "20.0", "2.5"),)
    text = page(content)
    assert "convergence.png" in text
    for row in PAPER_ROWS:
        assert f"{100 * row['test']:.1f}" in text


def test_without_all_labels_nothing_can_be_won_back() -> None:
    content = report()
    for one in content["figures"]["comparisons"]:
        one["won_back"] = None
    assert "no loss to recover" in summary(content)
