"""Measures of the experiment `filters` against dense formulas, brute force and closed forms."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from kd_asr.experiments.filters.measures import (
    POINTS,
    centred_gram,
    correlations,
    height_frequencies,
    linear_cka,
    match,
    matched_filters,
    modulation_responses,
    width_frequencies,
)


def _cka(first: torch.Tensor, second: torch.Tensor) -> float:
    return linear_cka(centred_gram(first), centred_gram(second))


def test_cka_is_the_dense_formula() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(3, 1, (12, 5)), rng.normal(-1, 2, (12, 30))
    y[:, :2] += 2 * x[:, :2]
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n

    def hsic(k: np.ndarray, other: np.ndarray) -> float:  # Gretton and others 2005
        return float(np.trace(k @ h @ other @ h)) / (n - 1) ** 2

    kernels = x @ x.T, y @ y.T
    expected = hsic(*kernels) / np.sqrt(hsic(kernels[0], kernels[0]) * hsic(kernels[1], kernels[1]))
    assert _cka(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(expected, rel=1e-5)
    centred = x - x.mean(axis=0), y - y.mean(axis=0)
    by_features = np.linalg.norm(centred[1].T @ centred[0]) ** 2 / (
        np.linalg.norm(centred[0].T @ centred[0]) * np.linalg.norm(centred[1].T @ centred[1])
    )
    assert expected == pytest.approx(by_features)


def test_cka_does_not_change_with_rotation_scale_and_shift() -> None:
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(40, 6, generator=generator), torch.randn(40, 9, generator=generator)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    assert _cka(x, x) == pytest.approx(1)
    assert _cka(x, 3 * x @ rotation + 5) == pytest.approx(1, abs=1e-5)
    assert _cka(x @ rotation, y) == pytest.approx(_cka(x, y), rel=1e-4)
    stretched = x @ torch.diag(torch.tensor([10.0, 1, 1, 1, 1, 1]))
    assert _cka(stretched, x) < 0.9  # but it does with other linear maps
    assert _cka(x, torch.ones(40, 3)) == 0


def test_matching_against_every_assignment() -> None:
    table = np.random.default_rng(3).normal(size=(4, 6))
    columns, found = match(table)
    best = max(permutations(range(6), 4), key=lambda chosen: sum(table[range(4), chosen]))
    assert tuple(columns) == best
    assert found.tolist() == [table[row, column] for row, column in enumerate(best)]
    with pytest.raises(ValueError, match="6 filters cannot be matched to 4"):
        match(table.T)


def test_correlations_against_numpy() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(3, 20)), rng.normal(size=(4, 20))
    assert correlations(first, second) == pytest.approx(np.corrcoef(first, second)[:3, 3:])
    assert correlations(np.ones((1, 20)), second) == pytest.approx(np.zeros((1, 4)))


@pytest.mark.parametrize(("along_height", "along_width"), [(0.25, 0.125), (0.125, -0.375), (0.0, 0.25)])
def test_response_of_a_sinusoid(along_height: float, along_width: float) -> None:
    heights, widths = np.mgrid[:16, :16]
    filters = 7 * np.cos(2 * np.pi * (along_height * heights + along_width * widths) + 0.3)[None]
    [response] = modulation_responses(filters)
    assert response.shape == (POINTS + 1, 2 * POINTS + 1)
    row, column = np.unravel_index(response.argmax(), response.shape)
    assert height_frequencies()[row] == along_height
    assert abs(width_frequencies()[column]) == abs(along_width)
    if along_height:
        assert width_frequencies()[column] == along_width
    # A cosine of unit energy over n points has a peak of sqrt(n) / sqrt(2).
    assert response.max() == pytest.approx(np.sqrt(256 / 2), rel=0.02)


def test_response_of_an_impulse_is_flat_and_parseval_holds() -> None:
    impulse = np.zeros((1, 5, 7))
    impulse[0, 2, 3] = -4
    assert modulation_responses(impulse) == pytest.approx(np.ones((1, POINTS + 1, 2 * POINTS + 1)))
    filters = np.random.default_rng(5).normal(size=(2, 5, 7))
    squares = modulation_responses(filters)[:, :, :-1] ** 2
    # The rows between the first and the last stand for two frequencies each.
    total = 2 * squares[:, 1:-1].sum(axis=(1, 2)) + squares[:, [0, -1]].sum(axis=(1, 2))
    assert total / (2 * POINTS) ** 2 == pytest.approx(np.ones(2))


def test_filters_that_are_teachers_in_another_order() -> None:
    teacher = np.random.default_rng(6).normal(size=(5, 4, 4))
    assert matched_filters(3 * teacher[[4, 0, 2]] + 1, teacher)[0] == pytest.approx(1)
    shifted = np.zeros((5, 6, 6))
    shifted[:, 1:5, 2:] = -teacher[::-1]
    padded = np.zeros((5, 6, 6))
    padded[:, :4, :4] = teacher
    weights, responses = matched_filters(shifted, padded)
    assert weights < 0.7
    assert responses == pytest.approx(1)
