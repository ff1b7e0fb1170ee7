import numpy as np
import pytest

from kd_asr.alignment.observations import (
    ClassMoments,
    cepstra_with_deltas,
    cosine_transform,
    deltas,
    linear_discriminants,
    spliced,
)


def test_the_cosine_transform_is_orthonormal() -> None:
    whole = cosine_transform(40, 40)
    assert np.abs(whole.T @ whole - np.eye(40)).max() < 1e-5


def test_the_deltas_of_a_line_are_its_slope() -> None:
    line = np.arange(10, dtype=np.float32)[:, None] * np.array([2.0, -0.5], dtype=np.float32)
    assert deltas(line)[2:-2] == pytest.approx(np.tile([2.0, -0.5], (6, 1)))
    # At the first frame the past repeats it: (1 * (x1 - x0) + 2 * (x2 - x0)) / 10 of a slope of 2.
    assert deltas(line)[0, 0] == pytest.approx((1 * 2 + 2 * 4) / 10)


def test_cepstra_have_two_derivatives() -> None:
    frames = np.random.default_rng(0).standard_normal((20, 40)).astype(np.float32)
    made = cepstra_with_deltas(frames)
    assert made.shape == (20, 39)
    assert made[:, 13:26] == pytest.approx(deltas(made[:, :13]), abs=1e-6)
    assert made[:, 26:] == pytest.approx(deltas(made[:, 13:26]), abs=1e-6)


def test_splicing_repeats_the_edges() -> None:
    frames = np.arange(4, dtype=np.float32)[:, None]
    assert spliced(frames, 1).tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]


def test_two_classes_are_told_apart_along_fishers_direction() -> None:
    rng = np.random.default_rng(1)
    mixing = np.array([[1.0, 0.6, 0.0], [0.0, 0.5, 0.2], [0.1, 0.0, 2.0]])
    shift = np.array([0.5, 1.0, -1.0])
    classes = np.repeat([0, 1], 20000)
    frames = (rng.standard_normal((40000, 3)) @ mixing + np.outer(classes, shift)).astype(np.float32)
    moments = ClassMoments.zeros(3, 3)
    for part in np.array_split(np.arange(40000), 7):
        moments.add(frames[part], classes[part])
    projection = linear_discriminants(moments, 2)
    fisher = np.linalg.solve(mixing.T @ mixing, shift)  # Fisher 1936: within^-1 (mean1 - mean0)
    cosine = projection[:, 0] @ fisher / np.linalg.norm(projection[:, 0]) / np.linalg.norm(fisher)
    assert abs(cosine) > 0.999
    within = np.cov((frames[classes == 0] @ projection).T)
    assert within == pytest.approx(np.eye(2), abs=0.05)


def test_moments_of_parts_add_up() -> None:
    rng = np.random.default_rng(2)
    frames = rng.standard_normal((30, 4)).astype(np.float32)
    classes = rng.integers(0, 5, 30)
    whole, first, second = (ClassMoments.zeros(5, 4) for _ in range(3))
    whole.add(frames, classes)
    first.add(frames[:11], classes[:11])
    second.add(frames[11:], classes[11:])
    first += second
    assert first.counts.tolist() == whole.counts.tolist()
    assert first.sums == pytest.approx(whole.sums, abs=1e-5)
    assert first.square == pytest.approx(whole.square, abs=1e-4)
