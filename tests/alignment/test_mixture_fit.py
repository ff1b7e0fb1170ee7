from itertools import pairwise

import numpy as np
import pytest

from kd_asr.alignment.fit import fit_mixtures, one_gaussian
from kd_asr.alignment.gmm import accumulate, maximise


def test_one_gaussian_a_pdf_is_mean_and_variance_of_its_frames() -> None:
    rng = np.random.default_rng(0)
    pdfs = np.repeat([0, 2], [300, 500])
    frames = (rng.standard_normal((800, 3)) * [1, 2, 0.5] + np.outer(pdfs, [1, -1, 3])).astype(np.float32)
    mixtures, log_likelihoods = fit_mixtures(frames, pdfs, num_pdfs=3, gaussians=3)
    assert mixtures.pdf.tolist() == [0, 1, 2]
    total = 0.0
    for pdf in (0, 2):
        mine = frames[pdfs == pdf].astype(np.float64)
        assert mixtures.means[pdf] == pytest.approx(mine.mean(axis=0), abs=1e-4)
        assert mixtures.variances[pdf] == pytest.approx(mine.var(axis=0), rel=1e-3)
        # The closed form of a Gaussian at its own maximum: -n/2 sum(log(2 pi e variance)).
        total += -0.5 * len(mine) * np.log(2 * np.pi * np.e * mine.var(axis=0)).sum()
    assert log_likelihoods[-1] == pytest.approx(total / 800, abs=1e-3)
    assert mixtures.means[1] == pytest.approx(frames.mean(axis=0), abs=1e-4)  # no frames: that of all frames


def test_two_humps_are_told_apart_and_the_likelihood_never_falls() -> None:
    rng = np.random.default_rng(1)
    hump = rng.integers(0, 2, 4000)
    frames = (rng.standard_normal((4000, 2)) + np.outer(8 * hump - 4, [1, 0])).astype(np.float32)
    pdfs = np.zeros(4000, np.int32)
    mixtures, log_likelihoods = fit_mixtures(frames, pdfs, num_pdfs=1, gaussians=2)
    # More passes of the same EM end where the frames came from.
    for _ in range(150):
        statistics = accumulate(mixtures, frames, pdfs)
        log_likelihoods.append(statistics.log_likelihood / 4000)
        mixtures = maximise(mixtures, statistics, variance_floor=np.full(2, 0.01, np.float32))
    assert all(later >= earlier - 1e-4 for earlier, later in pairwise(log_likelihoods))
    assert np.sort(mixtures.means[:, 0]) == pytest.approx([-4, 4], abs=0.1)
    assert mixtures.variances == pytest.approx(np.ones((2, 2)), rel=0.1)
    assert mixtures.weights == pytest.approx([0.5, 0.5], abs=0.03)


def test_a_variance_of_zero_is_held_above_zero() -> None:
    mixtures = one_gaussian(np.zeros(2), np.zeros(2), 3)
    assert mixtures.variances.min() > 0


def test_progress_adds_up_to_one() -> None:
    told: list[float] = []
    frames = np.random.default_rng(2).standard_normal((100, 2)).astype(np.float32)
    fit_mixtures(frames, np.zeros(100, np.int32), num_pdfs=1, gaussians=1, advance=told.append)
    assert sum(told) == pytest.approx(1.0)
