import numpy as np
import pytest

from kd_asr.features.perturbation import Perturbation, Spread, draw, perturb
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.vocal_tract import warp_matrix

FEATURES = FeatureSettings()
NONE = Perturbation(1.0, 1.0, (0.0, 0.0, 0.0))


def frames(count: int = 50) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 40)).astype(np.float32)


def test_nothing_is_changed_by_factors_of_one() -> None:
    copied, nearest = perturb(frames(), NONE, FEATURES)
    assert np.allclose(copied, frames(), atol=1e-6)
    assert nearest.tolist() == list(range(50))


def test_a_straight_line_in_time_stays_one_with_another_slope() -> None:
    line = np.repeat(np.arange(50, dtype=np.float32)[:, None], 40, axis=1)
    copied, nearest = perturb(line, Perturbation(1.0, 1.25, (0.0, 0.0, 0.0)), FEATURES)
    assert len(copied) == 40
    assert np.allclose(copied[:, 0], np.arange(40) * 1.25, atol=1e-5)
    assert nearest[:4].tolist() == [0, 1, 2, 4]
    slow, nearest = perturb(line, Perturbation(1.0, 0.8, (0.0, 0.0, 0.0)), FEATURES)
    assert len(slow) == 62
    assert np.allclose(slow[:, 0], np.minimum(np.arange(62) * 0.8, 49), atol=1e-5)
    assert nearest[-1] == 49


def test_the_curve_is_the_same_in_all_frames_and_smooth() -> None:
    copied, _ = perturb(frames(), Perturbation(1.0, 1.0, (0.5, -1.0, 0.25)), FEATURES)
    added = copied - frames()
    assert np.allclose(added, added[0], atol=1e-5)
    x = np.linspace(-1, 1, 40)
    assert np.allclose(added[0], 0.5 - x + 0.25 * (1.5 * x**2 - 0.5), atol=1e-5)


def test_the_warp_is_that_of_vocal_tracts() -> None:
    copied, _ = perturb(frames(), Perturbation(1.1, 1.0, (0.0, 0.0, 0.0)), FEATURES)
    assert np.allclose(copied, frames() @ warp_matrix(1.1, FEATURES).numpy(), atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shortest_utterances_have_copies(count: int) -> None:
    copied, nearest = perturb(frames(count), Perturbation(0.9, 1.15, (0.1, 0.1, 0.1)), FEATURES)
    assert len(copied) == len(nearest) == max(1, round(count / 1.15))
    assert np.isfinite(copied).all()
    assert nearest.max() < count


def test_copies_differ_and_are_drawn_again_alike() -> None:
    spread = Spread(0.15, 0.2, 0.3)
    drawn = [
        draw(spread, seed=seed, utterance_id=name, copy=copy) for seed in (1, 2) for name in "ab" for copy in (1, 2)
    ]
    assert len(set(drawn)) == 8
    assert draw(spread, seed=1, utterance_id="a", copy=1) == drawn[0]
    many = [draw(spread, seed=1, utterance_id=str(number), copy=1) for number in range(2000)]
    warps, rates = np.array([one.warp for one in many]), np.array([one.rate for one in many])
    assert warps.min() == pytest.approx(0.85)
    assert warps.max() == pytest.approx(1.15)
    assert 0.8 <= rates.min() < 0.81
    assert 1.19 < rates.max() <= 1.2
    assert np.std([one.curve for one in many]) == pytest.approx(0.3, rel=0.05)
