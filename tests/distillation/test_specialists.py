"""Sets of confusable classes, and the posterior of generalist and specialists, against brute force."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from kd_asr.distillation.specialists import (
    SpecialPosterior,
    combined_posterior,
    corrected_for_oversampling,
    covariance_of_posteriors,
    online_k_means,
)


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_covariance_of_parts_is_numpys_of_the_whole() -> None:
    posteriors = draw(0, 50, 6).softmax(1)
    found = covariance_of_posteriors([posteriors[:20], posteriors[20:]])
    assert np.allclose(found, np.cov(posteriors.numpy(), rowvar=False, bias=True))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_classes_that_are_taken_for_each_other_are_found(seed: int) -> None:
    """Posteriors whose mass is spread within one of three sets of four classes."""
    sets = torch.tensor([0, 1, 2] * 4)
    which = torch.randint(0, 3, (300,), generator=torch.Generator().manual_seed(seed))
    logits = torch.where(sets == which[:, None], 3.0 + 0.1 * draw(seed, 300, 12), -3.0)
    found = online_k_means(covariance_of_posteriors([logits.softmax(1)]), 3, seed=seed)
    assert len({(int(a), int(b)) for a, b in zip(sets, found, strict=True)}) == len(set(found.tolist())) == 3
    assert torch.equal(found, online_k_means(covariance_of_posteriors([logits.softmax(1)]), 3, seed=seed))


def test_as_many_clusters_as_points_leave_each_alone_and_more_are_refused() -> None:
    points = draw(1, 5, 2)
    assert sorted(online_k_means(points, 5, seed=1).tolist()) == [0, 1, 2, 3, 4]
    assert online_k_means(points, 1, seed=1).tolist() == [0] * 5
    with pytest.raises(ValueError, match="6 clusters of 5 points"):
        online_k_means(points, 6, seed=1)


def test_the_correction_gives_back_the_posterior_of_all_data() -> None:
    """Bayes: with the special classes r times as often, the posterior odds of the dustbin are r times too small."""
    posterior, times = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64), 8.0
    oversampled = posterior * torch.tensor([times, times, 1.0])
    seen = (oversampled / oversampled.sum()).log()
    assert torch.allclose(corrected_for_oversampling(seen + 3.0, times).exp(), posterior)


def divergences(q: np.ndarray, general: np.ndarray, specialists) -> float:
    total = float((general * np.log(general / q)).sum())
    for classes, own in specialists:
        others = [k for k in range(len(q)) if k not in classes]
        of_q = np.array([*q[classes], q[others].sum()])
        total += float((own * np.log(own / of_q)).sum())
    return total


@pytest.mark.parametrize("sets", [[[0, 1]], [[0, 1], [1, 2, 3]], [[4], [0, 2], [3, 4]]])
def test_the_combination_is_the_minimum_that_a_search_finds(sets: list[list[int]]) -> None:
    general = draw(7, 1, 5).log_softmax(1)
    own = [(classes, draw(8 + number, 1, len(classes) + 1).log_softmax(1)) for number, classes in enumerate(sets)]
    specialists = [SpecialPosterior(torch.tensor(classes), log_posteriors) for classes, log_posteriors in own]
    plain = [(classes, log_posteriors.exp()[0].numpy()) for classes, log_posteriors in own]

    def objective(logits: np.ndarray) -> float:
        return divergences(np.exp(logits - np.logaddexp.reduce(logits)), general.exp()[0].numpy(), plain)

    best = minimize(objective, np.zeros(5), tol=1e-12)
    expected = np.exp(best.x - np.logaddexp.reduce(best.x))
    found = combined_posterior(general, specialists)[0].exp().numpy()
    assert np.allclose(found, expected, atol=1e-4)
    assert found.sum() == pytest.approx(1.0)
    reached = [combined_posterior(general, specialists, steps=steps)[0].exp().numpy() for steps in range(6)]
    sums = [divergences(q, general.exp()[0].numpy(), plain) for q in reached]
    assert all(after <= before + 1e-12 for before, after in pairwise(sums))


def test_specialists_that_agree_change_nothing_and_none_leave_the_generalist() -> None:
    general = draw(3, 4, 6).log_softmax(1)
    assert torch.allclose(combined_posterior(general, []), general)
    classes = torch.tensor([1, 4])
    dustbin = general[:, [0, 2, 3, 5]].logsumexp(1, keepdim=True)
    same = SpecialPosterior(classes, torch.cat([general[:, classes], dustbin], dim=1))
    assert torch.allclose(combined_posterior(general, [same, same]), general, atol=1e-6)
    certain = SpecialPosterior(classes, torch.tensor([[0.0, -torch.inf, -torch.inf]]).double().expand(4, 3))
    assert torch.isfinite(combined_posterior(general, [certain]).exp()).all()
