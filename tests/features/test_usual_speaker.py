"""The usual speaker of a training set as a prior for files with little speech."""

from __future__ import annotations

import numpy as np
import pytest

from kd_asr.errors import UserError
from kd_asr.features.frames import moments, normalise
from kd_asr.features.usual_speaker import ENOUGH_FRAMES, PRIOR_FRAMES, UsualSpeaker

BINS = 4
MEAN, DEVIATION = np.array([10.0, 12.0, 9.0, 7.0]), np.array([1.0, -3.0, 2.5, -0.5])


def spoken(frames: int, seed: int, *, level: float = 0.0) -> np.ndarray:
    """Frames of two sounds of one loudness, of which a short file has more of one."""
    rng = np.random.default_rng(seed)
    sound = np.where(rng.random((frames, 1)) < 0.2 + 0.6 * (seed % 2), 1.0, -1.0)
    return (MEAN + level + DEVIATION * sound + 0.1 * rng.standard_normal((frames, BINS))).astype(np.float32)


def usual(frames: int = 20_000) -> UsualSpeaker:
    return UsualSpeaker(MEAN, DEVIATION**2, frames)


def test_it_counts_as_so_many_frames_of_its_mean_and_variance() -> None:
    block = spoken(150, 1)
    louder = float((block.mean(axis=0, dtype=np.float64) - MEAN).mean())
    # As many frames above its mean as below it, each by the deviation, have its mean and variance.
    half = np.full((PRIOR_FRAMES // 2, BINS), MEAN + louder)
    counted = np.concatenate([block.astype(np.float64), half + DEVIATION, half - DEVIATION])
    (found,) = normalise([block], usual())
    np.testing.assert_allclose(found, (block - counted.mean(axis=0)) / counted.std(axis=0), atol=2e-4)


def test_the_level_of_a_recording_changes_nothing() -> None:
    (found,), (louder,) = (normalise([spoken(90, 2, level=level)], usual()) for level in (0.0, 4.5))
    np.testing.assert_allclose(found, louder, atol=1e-4)


@pytest.mark.parametrize(
    ("frames", "in_training"), [(ENOUGH_FRAMES, 20_000), (ENOUGH_FRAMES + 500, 20_000), (120, 120), (121, 100)]
)
def test_enough_speech_is_normalised_as_in_training(frames: int, in_training: int) -> None:
    block = spoken(frames, 3)
    np.testing.assert_array_equal(normalise([block], usual(in_training))[0], normalise([block])[0])


def test_a_short_file_comes_close_to_what_it_is_beside_its_speaker(tmp_path) -> None:
    speakers = [spoken(4000, seed, level=0.3 * seed) for seed in range(2)]
    known = UsualSpeaker.of([moments([speakers[0], speakers[1]]), moments([speakers[1], speakers[0]])])
    rest = [spoken(1500, 0, level=1), spoken(1500, 1, level=1)]
    for seed in (0, 1):
        short = spoken(60, seed, level=1)
        expected = normalise([short, *rest])[0]
        errors = [np.abs(normalise([short], prior)[0] - expected).mean() for prior in (None, known)]
        assert errors[1] < 0.5 * errors[0]
    known.save(tmp_path / "usual.json")
    again = UsualSpeaker.load(tmp_path / "usual.json")
    np.testing.assert_array_equal([again.mean, again.variance], [known.mean, known.variance])
    assert again.frames == known.frames == 8000


def test_digital_silence_is_no_part_of_it() -> None:
    silence = np.full((500, BINS), -15.9, dtype=np.float32)
    block = spoken(70, 1)
    found = moments([silence, block])
    assert found.count == 70
    np.testing.assert_allclose(found.mean, block.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(found.variance, block.var(axis=0, dtype=np.float64), rtol=1e-6)
    assert moments([silence]).count == 0


@pytest.mark.parametrize("content", ["{}", "[]", '{"frames": 3, "mean": [1], "variance": [NaN]}', "no JSON"])
def test_a_damaged_file_is_one_sentence(tmp_path, content: str) -> None:
    (tmp_path / "usual.json").write_text(content)
    with pytest.raises(UserError, match=r"usual.json is damaged .*: delete the folder"):
        UsualSpeaker.load(tmp_path / "usual.json")
