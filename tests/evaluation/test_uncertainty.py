"""Uncertainties against sampling, sums by hand, and a count over all pairs."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Dirichlet

from kd_asr.evaluation.uncertainty import (
    area_under_curve,
    entropy,
    uncertainty_of_dirichlet,
    uncertainty_of_members,
)


def test_members_that_are_sure_of_different_classes_disagree() -> None:
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).log()[:, None]
    found = uncertainty_of_members(list(sure))
    assert (float(found.total), float(found.data)) == (pytest.approx(math.log(2)), 0.0)
    unsure = torch.tensor([[0.5, 0.5]]).log()
    found = uncertainty_of_members([unsure, unsure])
    assert float(found.data) == pytest.approx(math.log(2)) and float(found.knowledge) == pytest.approx(0.0)


def test_knowledge_is_the_mean_divergence_of_the_members_from_their_mean() -> None:
    members = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(2)
    mean = members.exp().mean(0)
    expected = (members.exp() * (members - mean.log())).sum(2).mean(0)
    assert torch.allclose(uncertainty_of_members(list(members)).knowledge, expected)


@pytest.mark.parametrize("scale", [0.3, 3.0, 30.0])
def test_the_closed_form_is_what_sampling_gives(scale: float) -> None:
    torch.manual_seed(0)
    alpha = scale * torch.tensor([[1.0, 2.0, 0.5, 4.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    samples = Dirichlet(alpha).sample((40_000,))
    sampled, found = uncertainty_of_members(list(samples.log())), uncertainty_of_dirichlet(alpha)
    for name in ("total", "data", "knowledge"):
        assert torch.allclose(getattr(sampled, name), getattr(found, name), atol=0.01), name


def test_much_evidence_leaves_nothing_to_know() -> None:
    found = uncertainty_of_dirichlet(1e6 * torch.tensor([[0.7, 0.2, 0.1]]))
    assert float(found.knowledge) == pytest.approx(1e-6, rel=0.1)  # (K - 1) / (2 alpha_0)
    assert float(found.total) == pytest.approx(float(entropy(torch.tensor([0.7, 0.2, 0.1]).log())), abs=1e-5)


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    generator = np.random.default_rng(0)
    measure, positive = generator.integers(0, 6, 40).astype(float), generator.random(40) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in measure[positive] for b in measure[~positive]]
    assert area_under_curve(measure, positive) == pytest.approx(np.mean(pairs))
    assert area_under_curve(measure, np.zeros(40, dtype=bool)) is None
    assert area_under_curve(measure, np.ones(40, dtype=bool)) is None
