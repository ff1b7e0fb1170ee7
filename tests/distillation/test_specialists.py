"""Sets of confusable classes, and the posterior of generalist and specialists, against brute force."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from kd_asr.distillation.specialists import covariance_of_posteriors, online_k_means
from kd_asr.networks.ensemble import with_specialists


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


def of_classes(classes: list[int], log_posteriors: torch.Tensor, total: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Posteriors of some classes and of all others together, as a specialist's outputs for all classes."""
    special = torch.zeros(total, dtype=torch.bool)
    special[classes] = True
    outputs = (log_posteriors[:, -1:] - np.log(total - len(classes))).expand(-1, total).clone()
    outputs[:, classes] = log_posteriors[:, :-1]
    return outputs, special


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
    specialists = [of_classes(classes, log_posteriors, 5) for classes, log_posteriors in own]
    plain = [(classes, log_posteriors.exp()[0].numpy()) for classes, log_posteriors in own]

    def objective(logits: np.ndarray) -> float:
        return divergences(np.exp(logits - np.logaddexp.reduce(logits)), general.exp()[0].numpy(), plain)

    best = minimize(objective, np.zeros(5), tol=1e-12)
    expected = np.exp(best.x - np.logaddexp.reduce(best.x))
    found = with_specialists(general, specialists, everyone=True, steps=100)[0].exp().numpy()
    assert np.allclose(found, expected, atol=1e-4)
    assert found.sum() == pytest.approx(1.0)
    reached = [
        with_specialists(general, specialists, everyone=True, steps=steps)[0].exp().numpy() for steps in range(6)
    ]
    sums = [divergences(q, general.exp()[0].numpy(), plain) for q in reached]
    assert all(after <= before + 1e-12 for before, after in pairwise(sums))


def test_only_the_specialist_for_the_most_probable_class_is_asked_and_one_step_is_exact() -> None:
    general = torch.tensor([[0.5, 0.2, 0.2, 0.1], [0.1, 0.1, 0.2, 0.6]]).double().log()
    first = of_classes([0, 1], torch.tensor([[0.3, 0.6, 0.1]]).double().log().expand(2, 3), 4)
    other = of_classes([2, 3], torch.tensor([[0.8, 0.1, 0.1]]).double().log().expand(2, 3), 4)
    found = with_specialists(general, [first, other], steps=1).exp()
    # The mean of both, with the dustbin's tenth shared as the generalist shares it: 2 to 1, and 1 to 1.
    assert torch.allclose(found[0], torch.tensor([0.4, 0.4, 0.1 + 0.1 / 3, 0.05 + 0.05 / 3]).double())
    assert torch.allclose(found[1], torch.tensor([0.075, 0.075, 0.5, 0.35]).double())
    assert torch.allclose(found, with_specialists(general, [first, other]).exp())


def test_specialists_that_agree_change_nothing_and_none_leave_the_generalist() -> None:
    general = draw(3, 4, 6).log_softmax(1)
    assert torch.allclose(with_specialists(general, []), general)
    dustbin = general[:, [0, 2, 3, 5]].logsumexp(1, keepdim=True)
    same = of_classes([1, 4], torch.cat([general[:, [1, 4]], dustbin], dim=1), 6)
    assert torch.allclose(with_specialists(general, [same, same], everyone=True), general, atol=1e-6)
    certain = of_classes([1, 4], torch.tensor([[0.0, -torch.inf, -torch.inf]]).double().expand(4, 3), 6)
    assert torch.isfinite(with_specialists(general, [certain], everyone=True).exp()).all()
