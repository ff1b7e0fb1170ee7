"""Frame accuracy and cross-entropy against values computed by hand and by torch."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from kd_asr.evaluation.frame_accuracy import FrameScores, join_scores, score_frames


def test_by_hand() -> None:
    log_posteriors = np.log(np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5], [0.1, 0.6, 0.3]], dtype=np.float32))
    scores = score_frames("a", log_posteriors, np.array([0, 1, 1]))
    assert scores.correct.tolist() == [2]
    assert scores.frames.tolist() == [3]
    assert scores.cross_entropy_sum[0] == pytest.approx(-math.log(0.7) - math.log(0.25) - math.log(0.6), rel=1e-6)
    assert scores.frame_accuracy == pytest.approx(2 / 3)


def test_against_torch_over_a_set() -> None:
    generator = torch.Generator().manual_seed(1)
    parts, all_log_posteriors, all_labels = [], [], []
    for index, frames in enumerate((5, 0, 31)):
        log_posteriors = torch.randn(frames, 9, generator=generator).log_softmax(dim=1)
        labels = torch.randint(9, (frames,), generator=generator)
        parts.append(score_frames(f"u{index}", log_posteriors.numpy(), labels.numpy()))
        all_log_posteriors.append(log_posteriors)
        all_labels.append(labels)
    joined = join_scores(parts)
    log_posteriors, labels = torch.cat(all_log_posteriors), torch.cat(all_labels)
    assert joined.cross_entropy == pytest.approx(torch.nn.functional.nll_loss(log_posteriors, labels).item(), rel=1e-5)
    assert joined.frame_accuracy == pytest.approx((log_posteriors.argmax(1) == labels).double().mean().item())
    assert joined.frames.tolist() == [5, 0, 31]
    again = FrameScores.from_json(json.loads(json.dumps(joined.to_json())))
    assert again.to_json() == joined.to_json()
    assert joined.select(["u2", "u0"]).frames.tolist() == [31, 5]


def test_empty_set_is_nan() -> None:
    assert math.isnan(join_scores([]).frame_accuracy)
    assert math.isnan(join_scores([]).cross_entropy)


def test_impossible_label_gives_infinite_cross_entropy() -> None:
    assert score_frames("a", np.array([[0.0, -np.inf]]), np.array([1])).cross_entropy == math.inf


@pytest.mark.parametrize(
    ("log_posteriors", "labels", "message"),
    [
        (np.zeros((3, 2)), np.zeros(2, int), "expected"),
        (np.zeros((3, 2)), np.array([0, 1, 2]), "2 pdfs"),
        (np.zeros((3, 2)), np.array([0, -1, 0]), "2 pdfs"),
        (np.full((1, 2), np.nan), np.zeros(1, int), "NaN"),
    ],
)
def test_refusals_name_the_utterance(log_posteriors: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=f"utt-7.*{message}"):
        score_frames("utt-7", log_posteriors, labels)


def test_fields_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one entry per utterance"):
        FrameScores(("a",), np.array([1, 2]), np.array([1]), np.array([0.0]))
