"""Gaussian mixtures against direct formulas, closed forms and laws of EM."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from kd_asr.alignment.gmm import Mixtures, Statistics, accumulate, maximise, split

NO_FLOOR = np.full(3, 1e-6, dtype=np.float32)


def _mixtures(sizes: list[int], dimension: int = 3, seed: int = 0) -> Mixtures:
    rng = np.random.default_rng(seed)
    pdf = np.repeat(np.arange(len(sizes)), sizes)
    weights = rng.uniform(0.2, 1.0, len(pdf))
    weights /= np.bincount(pdf, weights=weights)[pdf]
    return Mixtures(
        pdf,
        weights.astype(np.float32),
        rng.normal(0, 2, (len(pdf), dimension)).astype(np.float32),
        rng.uniform(0.3, 3.0, (len(pdf), dimension)).astype(np.float32),
    )


def _density(mixtures: Mixtures, member: int, frame: np.ndarray) -> float:
    """Weight times density of one Gaussian, written out."""
    value = float(mixtures.weights[member])
    for mean, variance, x in zip(mixtures.means[member], mixtures.variances[member], frame, strict=True):
        value *= math.exp(-((float(x) - float(mean)) ** 2) / (2 * float(variance))) / math.sqrt(
            2 * math.pi * float(variance)
        )
    return value


def test_log_likelihoods_are_the_sums_of_the_densities() -> None:
    mixtures = _mixtures([2, 1, 4])
    frames = np.random.default_rng(1).normal(0, 2, (5, 3)).astype(np.float32)
    found = mixtures.log_likelihoods(frames, np.array([0, 1, 2]))
    assert found.shape == (5, 3)
    assert found.dtype == np.float32
    for number, frame in enumerate(frames):
        for pdf in range(3):
            total = sum(_density(mixtures, member, frame) for member in np.flatnonzero(mixtures.pdf == pdf))
            assert found[number, pdf] == pytest.approx(math.log(total), abs=2e-4)


def test_only_the_wanted_pdfs_are_computed() -> None:
    mixtures = _mixtures([2, 1, 4, 2])
    frames = np.random.default_rng(1).normal(0, 2, (5, 3)).astype(np.float32)
    everything = mixtures.log_likelihoods(frames, np.arange(4))
    some = mixtures.log_likelihoods(frames, np.array([1, 3]))
    np.testing.assert_allclose(some[:, [1, 3]], everything[:, [1, 3]], rtol=1e-5)
    assert (some[:, [0, 2]] < -1e9).all()


def test_far_away_frames_stay_finite() -> None:
    found = _mixtures([3, 2]).log_likelihoods(np.full((2, 3), 1e4, dtype=np.float32), np.arange(2))
    assert np.isfinite(found).all()


def test_statistics_are_the_expected_ones() -> None:
    mixtures = _mixtures([2, 3])
    rng = np.random.default_rng(2)
    frames = rng.normal(0, 2, (40, 3)).astype(np.float32)
    pdfs = rng.integers(0, 2, 40).astype(np.int32)
    found = accumulate(mixtures, frames, pdfs)
    expected = Statistics.zeros(5, 3)
    for frame, pdf in zip(frames, pdfs, strict=True):
        members = np.flatnonzero(mixtures.pdf == pdf)
        densities = np.array([_density(mixtures, member, frame) for member in members])
        expected.log_likelihood += math.log(densities.sum())
        for member, share in zip(members, densities / densities.sum(), strict=True):
            expected.occupancy[member] += share
            expected.sums[member] += share * frame
            expected.squares[member] += share * frame**2
    assert found.frames == 40
    assert found.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-5)
    np.testing.assert_allclose(found.occupancy, expected.occupancy, rtol=1e-4)
    np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.squares, expected.squares, rtol=1e-3)


def test_statistics_of_parts_add_up_and_blocks_do_not_matter() -> None:
    mixtures = _mixtures([2, 3])
    rng = np.random.default_rng(3)
    frames = rng.normal(0, 2, (20_000, 3)).astype(np.float32)  # more than one block for a pdf
    pdfs = (rng.random(20_000) < 0.1).astype(np.int32)
    whole = accumulate(mixtures, frames, pdfs)
    parts = accumulate(mixtures, frames[:7000], pdfs[:7000])
    parts += accumulate(mixtures, frames[7000:], pdfs[7000:])
    assert whole.frames == parts.frames == 20_000
    assert whole.occupancy.sum() == pytest.approx(20_000, rel=1e-6)
    assert whole.log_likelihood == pytest.approx(parts.log_likelihood, rel=1e-6)
    np.testing.assert_allclose(whole.squares, parts.squares, rtol=1e-5)


def test_one_gaussian_gets_the_mean_and_variance_of_its_frames() -> None:
    rng = np.random.default_rng(4)
    pdfs = np.repeat([0, 1], [50, 30]).astype(np.int32)
    frames = rng.normal(0, 1, (80, 3)).astype(np.float32) + 5 * pdfs[:, None].astype(np.float32)
    start = _mixtures([1, 1])
    fitted = maximise(start, accumulate(start, frames, pdfs), variance_floor=NO_FLOOR)
    for pdf in range(2):
        np.testing.assert_allclose(fitted.means[pdf], frames[pdfs == pdf].mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(fitted.variances[pdf], frames[pdfs == pdf].var(axis=0), rtol=1e-3)
    np.testing.assert_array_equal(fitted.weights, [1.0, 1.0])


def test_em_never_lowers_the_likelihood_and_finds_two_clusters() -> None:
    rng = np.random.default_rng(5)
    labels = rng.random(4000) < 0.3
    frames = np.where(labels[:, None], rng.normal(4, 1, (4000, 3)), rng.normal(-4, 0.5, (4000, 3))).astype(np.float32)
    pdfs = np.zeros(4000, dtype=np.int32)
    mixtures = Mixtures(
        np.array([0, 0]),
        np.array([0.5, 0.5], np.float32),
        np.array([[0.1] * 3, [-0.1] * 3], np.float32),
        np.full((2, 3), 16.0, np.float32),
    )
    history = []
    for _ in range(25):
        statistics = accumulate(mixtures, frames, pdfs)
        history.append(statistics.log_likelihood / 4000)
        mixtures = maximise(mixtures, statistics, variance_floor=NO_FLOOR)
    assert all(after >= before - 1e-5 for before, after in pairwise(history))
    order = np.argsort(mixtures.means[:, 0])
    np.testing.assert_allclose(mixtures.weights[order], [0.7, 0.3], atol=0.03)
    np.testing.assert_allclose(mixtures.means[order], [[-4] * 3, [4] * 3], atol=0.15)
    np.testing.assert_allclose(mixtures.variances[order], [[0.25] * 3, [1] * 3], atol=0.15)


def test_variances_do_not_fall_below_the_floor() -> None:
    frames = np.tile(np.array([[1.0, 2.0, 3.0]], np.float32), (30, 1))
    start = _mixtures([1])
    floor = np.array([0.1, 0.2, 0.3], np.float32)
    fitted = maximise(start, accumulate(start, frames, np.zeros(30, np.int32)), variance_floor=floor)
    np.testing.assert_allclose(fitted.variances[0], floor)
    np.testing.assert_allclose(fitted.means[0], [1, 2, 3], rtol=1e-5)


def test_gaussians_that_see_too_little_are_dropped_but_never_all_of_a_pdf() -> None:
    start = _mixtures([3, 2])
    statistics = Statistics.zeros(5, 3)
    statistics.occupancy[:] = [50, 2, 30, 0, 0]  # pdf 1 has not been seen
    statistics.sums[:] = 1.0
    statistics.squares[:] = 2.0
    fitted = maximise(start, statistics, variance_floor=NO_FLOOR)
    assert fitted.pdf.tolist() == [0, 0, 1]
    np.testing.assert_allclose(fitted.weights, [50 / 80, 30 / 80, 1.0])
    np.testing.assert_array_equal(fitted.means[2], start.means[3])
    np.testing.assert_array_equal(fitted.variances[2], start.variances[3])


def test_split_keeps_mean_and_weight_of_every_pdf() -> None:
    start = _mixtures([1, 1, 1])
    more = split(start, np.array([10_000.0, 500.0, 10.0]), 30)
    assert (np.diff(more.pdf) >= 0).all()
    counts = np.bincount(more.pdf)
    assert counts[0] > counts[1] > counts[2] == 1  # 10 frames are too few for a second one
    assert len(more.pdf) <= 30
    np.testing.assert_allclose(np.bincount(more.pdf, weights=more.weights), 1.0, rtol=1e-6)
    for pdf in range(3):
        members = more.pdf == pdf
        mean = (more.weights[members, None] * more.means[members]).sum(axis=0)
        np.testing.assert_allclose(mean, start.means[pdf], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(more.variances[members], np.tile(start.variances[pdf], (counts[pdf], 1)))


def test_split_hardly_changes_the_likelihood_and_leaves_the_model_alone() -> None:
    start = _mixtures([2, 2])
    before = [array.copy() for array in (start.pdf, start.weights, start.means, start.variances)]
    frames = np.random.default_rng(6).normal(0, 2, (200, 3)).astype(np.float32)
    more = split(start, np.array([500.0, 500.0, 500.0, 500.0]), 8)
    assert len(more.pdf) == 8
    for old, new in zip(before, (start.pdf, start.weights, start.means, start.variances), strict=True):
        np.testing.assert_array_equal(old, new)
    pdfs = np.array([0, 1])
    difference = more.log_likelihoods(frames, pdfs) - start.log_likelihoods(frames, pdfs)
    assert np.abs(difference).mean() < 0.05
