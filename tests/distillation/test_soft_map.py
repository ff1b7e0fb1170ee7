"""Learnt maps from another model's classes to ours."""

import numpy as np
import pytest
import torch

from kd_asr.distillation.outside.maps import Misfit
from kd_asr.distillation.outside.soft_map import learn_map, views_of
from kd_asr.distillation.signal import top_k_targets

SHIFTS = {"shift": 0.01, "their_shift": 0.01, "slack": 0.0}


def targets(probabilities: np.ndarray, k: int | None = None):
    with np.errstate(divide="ignore"):
        logs = torch.from_numpy(np.log(probabilities)).float()
    return top_k_targets(logs, k or probabilities.shape[1])


def test_classes_that_occur_together_are_counted() -> None:
    theirs = np.array([[1.0, 0.0], [0.75, 0.25], [0.0, 1.0], [0.5, 0.5]])
    labels = np.array([0, 2, 1, 1])
    found = learn_map([views_of(targets(theirs), (), 4, **SHIFTS)], [labels], 3)
    prior = np.array([2, 3, 2]) / 7
    counts = np.array([[1.0, 0.5, 0.75], [0.0, 1.5, 0.25]]) + 2 * prior
    expected = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.matrices[0], expected, atol=1e-6)
    mixed = found.apply(views_of(targets(np.array([[0.2, 0.8]])), (), 1, **SHIFTS))
    np.testing.assert_allclose(mixed, [0.2 * expected[0] + 0.8 * expected[1]], atol=1e-6)


def ctc(labels: np.ndarray, delay: int) -> np.ndarray:
    """A network that names the class of each stretch once, some frames after it began, and is blank (class 4) else."""
    found = np.full((len(labels), 5), 0.004)
    found[:, 4] = 1 - 0.004 * 4
    for start in np.flatnonzero(np.diff(labels, prepend=-1)):
        if start + delay < len(labels):
            found[start + delay] = 0.01
            found[start + delay, labels[start]] = 0.96
    return found


def test_a_ctc_network_is_asked_by_its_own_alignment() -> None:
    random = np.random.default_rng(0)
    many = [np.repeat(random.permutation(np.arange(40) % 4), 8) for _ in range(6)]
    many = [one[np.concatenate([[True], np.diff(one) != 0])].repeat(8) for one in many]
    many = [np.concatenate([[one[0]] * 8, one]) for one in many]
    views = [views_of(targets(ctc(one, delay=6)), (4,), len(one), **SHIFTS) for one in many]
    found = learn_map(views[:-1], many[:-1], 4)
    inner = slice(10, -10)
    right = found.apply(views[-1]).argmax(axis=1) == many[-1]
    assert right[inner].mean() > 0.9
    by_frame = learn_map([[one[0]] for one in views[:-1]], many[:-1], 4)  # the next class alone
    assert (by_frame.apply(views[-1][:1]).argmax(axis=1) == many[-1])[inner].mean() < right[inner].mean() - 0.05


def test_other_frame_rates_are_repeated_and_other_lengths_refused() -> None:
    theirs = np.eye(3)[[0, 2, 1]]
    [view] = views_of(targets(theirs), (), 6, shift=0.01, their_shift=0.02, slack=0.0)
    assert view.classes[:, 0].tolist() == [0, 0, 2, 2, 1, 1]
    with pytest.raises(Misfit, match=r"they last 0.060 s and ours end at 0.090 s"):
        views_of(targets(theirs), (), 9, shift=0.01, their_shift=0.02, slack=0.02)


def test_a_network_that_names_nothing_says_little() -> None:
    silent = np.tile([0.001, 0.001, 0.001, 0.001, 0.996], (20, 1))
    labels = np.repeat([0, 1, 2, 3], 5)
    views = views_of(targets(silent), (4,), 20, **SHIFTS)
    found = learn_map([views], [labels], 4).apply(views)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
