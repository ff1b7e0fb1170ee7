"""What a facilitator has learnt, by phones and speakers."""

import numpy as np
import pytest

from kd_asr.errors import UserError
from kd_asr.experiments.moderation.moderation import Moderated, figures, moderation, page
from kd_asr.stages.settings import parse_settings


def test_means_by_phone_and_speaker_by_hand() -> None:
    many, few = 200, 50
    found = Moderated(
        lead=np.array([[0.9, 0.1]] * many + [[0.2, 0.8]] * few),
        trust=np.array([0.75] * many + [0.25] * few),
        right=np.array([[True, True]] * many + [[True, False]] * few),
        nats=np.array([[1.0, 0.5]] * many + [[1.0, 3.0]] * few),
        phones=np.array(["AA"] * many + ["B"] * few),
        speakers=np.array(["someone"] * (many + few)),
    )
    content = figures(found)
    assert content["accuracy"] == [1.0, 0.8] and content["cross_entropy"] == [1.0, 1.0]
    assert [row["name"] for row in content["phones"]] == ["AA"]  # fifty frames are too few
    assert content["phones"][0]["lead"] == pytest.approx([0.9, 0.1])
    [speaker] = content["speakers"]
    assert speaker["lead"] == pytest.approx([0.76, 0.24]) and speaker["trust"] == pytest.approx(0.65)
    text = page({"title": "T", **content})
    assert "| AA |" in text and "| someone |" in text and "| member 1 |" in text


def test_a_run_without_a_facilitator_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="facilitator is not among the methods"):
        moderation(tmp_path, parse_settings([]))
