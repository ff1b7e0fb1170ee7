"""The closed form against automatic differentiation of the losses it is made of."""

import pytest
import torch

from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.losses.hard import hard_cross_entropy
from kd_asr.distillation.losses.soft import soft_cross_entropy
from kd_asr.distillation.signal import SoftTargets, top_k_targets
from kd_asr.distillation.soft_and_hard import soft_and_hard_loss

CLASSES = 11


def random_targets(batch: int, top_k: int, seed: int) -> SoftTargets:
    generator = torch.Generator().manual_seed(seed)
    log_probs = (3 * torch.randn(batch, CLASSES, generator=generator)).log_softmax(1)
    background = torch.rand(CLASSES, generator=generator) + 0.1
    found = top_k_targets(log_probs, top_k, background)
    return SoftTargets(found.classes, found.log_probs.double(), found.log_tail_mass.double(), found.tail_prior.double())


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("weights", [(1.0, 0.5), (1.0, 0.0), (0.0, 2.0), (3.0, 1.0)])
@pytest.mark.parametrize("top_k", [1, 4, CLASSES])
def test_values_and_gradient_are_those_of_the_two_losses(temperature, weights, top_k) -> None:
    soft_weight, hard_weight = weights
    targets = random_targets(7, top_k, seed=1)
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(CLASSES, (7,), generator=generator)
    labels[[0, 4]] = UNLABELLED
    logits = torch.randn(7, CLASSES, generator=generator, dtype=torch.float64).requires_grad_()
    soft = soft_cross_entropy(logits, targets, temperature=temperature).mean()
    hard = hard_cross_entropy(logits, labels).mean()
    expected = (soft_weight * soft + hard_weight * hard) / (soft_weight + hard_weight)
    (gradient,) = torch.autograd.grad(3 * expected, logits)
    total, soft_part, hard_part = soft_and_hard_loss(
        logits, targets, labels, temperature=temperature, soft_weight=soft_weight, hard_weight=hard_weight
    )
    assert torch.allclose(torch.stack([total, soft_part, hard_part]), torch.stack([expected, soft, hard]), rtol=1e-6)
    assert torch.allclose(torch.autograd.grad(3 * total, logits)[0], gradient, rtol=1e-5, atol=1e-8)
    assert not soft_part.requires_grad
    assert not hard_part.requires_grad


def test_several_networks_at_once_are_each_by_itself() -> None:
    """Two networks of three labels each, of which the totals are weighted before the backward pass."""
    targets, labels = random_targets(6, 4, seed=1), torch.tensor([3, UNLABELLED, 0, 7, 7, 2])
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(6, CLASSES, generator=generator, dtype=torch.float64).requires_grad_()
    options = {"temperature": 2.0, "soft_weight": 1.0, "hard_weight": 0.5}
    together = soft_and_hard_loss(logits, targets, labels, **options, networks=2)
    each = [
        soft_and_hard_loss(logits[part], targets.select(part), labels[part], **options)
        for part in (slice(0, 3), slice(3, 6))
    ]
    for found, expected in zip(together, zip(*each, strict=True), strict=True):
        assert torch.allclose(found, torch.stack(expected))
    (gradient,) = torch.autograd.grad(2 * together[0][0] + 5 * together[0][1], logits)
    (expected,) = torch.autograd.grad(2 * each[0][0] + 5 * each[1][0], logits)
    assert torch.allclose(gradient, expected)


def test_the_gradient_sums_to_zero_and_vanishes_at_the_teacher() -> None:
    targets = random_targets(5, CLASSES, seed=3)
    logits = targets.dense_log_probs(1.0).requires_grad_()
    total, _, _ = soft_and_hard_loss(
        logits, targets, torch.zeros(5, dtype=torch.int64), temperature=2.0, soft_weight=1.0, hard_weight=0.0
    )
    (gradient,) = torch.autograd.grad(total, logits)
    assert gradient.abs().max() < 1e-6


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="logits of shape"):
        soft_and_hard_loss(
            torch.zeros(5, 3, dtype=torch.float64),
            random_targets(5, 2, seed=1),
            torch.zeros(5, dtype=torch.int64),
            temperature=1.0,
            soft_weight=1.0,
            hard_weight=0.5,
        )
