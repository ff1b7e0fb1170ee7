"""Losses that keep the members of an ensemble apart, against torch's distributions, autograd and sums by hand."""

import math

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.dirichlet import concentrations, evidence_of_members, proxy_dirichlet_loss
from kd_asr.distillation.losses.dirichlet_likelihood import dirichlet_likelihood_loss
from kd_asr.distillation.losses.heads import HeadsLoss, HeadsLossSettings, mean_divergence_of_heads
from kd_asr.distillation.objectives import needs_of, weighted
from kd_asr.distillation.signal import Signal
from kd_asr.networks.outputs import Outputs

CLASSES = 6


def draw(seed: int, *shape: int, scale: float = 1.5) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MEMBERS = tuple(draw(number, 4, CLASSES).log_softmax(1) for number in range(3))


def test_the_evidence_of_members_by_hand() -> None:
    one, other = torch.tensor([[0.75, 0.25]]).double(), torch.tensor([[0.25, 0.75]]).double()
    mean, beta = evidence_of_members([one.log(), other.log()], least_divergence=1e-9)
    # KL((1/2, 1/2) || (3/4, 1/4)) = log(2 / sqrt(3)), the same for both.
    assert mean.tolist() == [[0.5, 0.5]]
    assert float(beta) == pytest.approx(1 / (2 * math.log(2 / math.sqrt(3))) + 2)
    _, capped = evidence_of_members([one.log(), one.log()], least_divergence=0.01)
    assert float(capped) == pytest.approx(1 / 0.02 + 2)


def test_the_proxy_loss_is_the_reverse_divergence_from_the_proxy() -> None:
    """Up to a constant of the labels, and per unit of evidence; by torch's closed form."""
    mean, beta = evidence_of_members(MEMBERS, least_divergence=1e-6)
    proxy = Dirichlet(1 + beta[:, None] * mean)
    losses, divergences = [], []
    for seed in (10, 11):
        logits = draw(seed, 4, CLASSES)
        losses.append(proxy_dirichlet_loss(logits, MEMBERS, least_divergence=1e-6))
        divergences.append(kl_divergence(Dirichlet(concentrations(logits)), proxy) / beta)
    assert torch.allclose(losses[0] - losses[1], divergences[0] - divergences[1])


def test_the_proxy_loss_is_least_where_the_evidence_is_the_ensembles() -> None:
    mean, beta = evidence_of_members(MEMBERS, least_divergence=1e-6)
    best = (mean.log() + beta.log()[:, None]).requires_grad_()
    loss = proxy_dirichlet_loss(best, MEMBERS, least_divergence=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), best)
    assert float(gradient.abs().max()) < 1e-12
    assert torch.allclose(best.softmax(1), mean)
    for seed in range(5):
        moved = proxy_dirichlet_loss(best.detach() + draw(seed, 4, CLASSES), MEMBERS, least_divergence=1e-6)
        assert bool((moved > loss.detach()).all())


@pytest.mark.parametrize("size", [4.0, 12.0, 18.0])
def test_much_evidence_has_the_value_and_gradient_of_double_precision(size: float) -> None:
    """Half a million of evidence and more: a difference of numbers ten digits long."""
    exact = (size + draw(4, 4, CLASSES, scale=0.3)).requires_grad_()
    single = exact.detach().float().requires_grad_()
    losses = [
        proxy_dirichlet_loss(one, [member.to(one.dtype) for member in MEMBERS], least_divergence=1e-3)
        for one in (exact, single)
    ]
    assert torch.allclose(losses[0], losses[1].double(), rtol=1e-3, atol=1e-3)
    gradients = [torch.autograd.grad(loss.sum(), one)[0] for loss, one in zip(losses, (exact, single), strict=True)]
    assert torch.allclose(gradients[0], gradients[1].double(), rtol=1e-2, atol=1e-3)


def test_logits_beyond_all_evidence_are_led_back() -> None:
    logits = torch.full((4, CLASSES), 90.0, requires_grad=True)
    members = [member.float() for member in MEMBERS]
    (gradient,) = torch.autograd.grad(proxy_dirichlet_loss(logits, members, least_divergence=1e-3).sum(), logits)
    assert torch.isfinite(gradient).all() and bool((gradient.sum(dim=1) > 0.1).all())


def test_members_that_agree_ask_for_more_evidence() -> None:
    centre = draw(5, 1, CLASSES)
    near, far = ([(centre + scale * draw(seed, 1, CLASSES)).log_softmax(1) for seed in (6, 7)] for scale in (0.1, 1.0))
    assert float(evidence_of_members(near, least_divergence=1e-6)[1]) > float(
        evidence_of_members(far, least_divergence=1e-6)[1]
    )


def test_thousands_of_classes_some_impossible_stay_finite_in_float32() -> None:
    members = [draw(seed, 3, 2000, scale=6.0).float().log_softmax(1) for seed in (1, 2)]
    for member in members:
        member[:, :50] = -math.inf
    for scale in (0.0, 5.0, 40.0):
        logits = draw(3, 3, 2000, scale=scale).float().requires_grad_()
        loss = proxy_dirichlet_loss(logits, members, least_divergence=1e-4)
        loss.sum().backward()
        assert torch.isfinite(loss).all() and torch.isfinite(logits.grad).all()


def test_the_likelihood_is_torchs_density_of_the_members() -> None:
    logits = draw(8, 4, CLASSES)
    smoothing, temperature = 1e-3, 2.0
    expected = torch.zeros(4, dtype=torch.float64)
    for member in MEMBERS:
        smoothed = (1 - smoothing) * (member / temperature).softmax(1) + smoothing / CLASSES
        expected -= Dirichlet((logits / temperature).exp()).log_prob(smoothed) / len(MEMBERS)
    found = dirichlet_likelihood_loss(logits, MEMBERS, temperature=temperature, smoothing=smoothing)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_divergence_of_heads_is_the_mean_over_pairs(temperature: float) -> None:
    heads = draw(9, 3, 4, CLASSES)
    expected = torch.zeros(4, dtype=torch.float64)
    for logits, member in zip(heads, MEMBERS, strict=True):
        p, q = (member / temperature).softmax(1), (logits / temperature).softmax(1)
        expected += temperature**2 * (p * (p / q).log()).sum(1) / 3
    assert torch.allclose(mean_divergence_of_heads(heads, MEMBERS, temperature=temperature), expected)
    agreeing = torch.stack(MEMBERS) + 2.0
    assert float(mean_divergence_of_heads(agreeing, MEMBERS, temperature=temperature).abs().max()) < 1e-12


@pytest.mark.parametrize("loss", ["dirichlet", "dirichlet_likelihood", "heads"])
def test_gradients_equal_finite_differences(loss: str) -> None:
    made, batch = weighted(loss).loss.make(), Batch(torch.arange(4), torch.zeros(4, 1), torch.zeros(4).long())

    def value(logits: torch.Tensor) -> torch.Tensor:
        return made(Outputs(logits, heads=torch.stack([logits, 2 * logits, -logits])), Signal(None, MEMBERS), batch)

    assert torch.autograd.gradcheck(value, draw(3, 4, CLASSES).requires_grad_())
    assert "members" in needs_of([weighted(loss), weighted("hard")])
    with pytest.raises(ValueError, match="1 members to learn from: this loss needs an ensemble of two or more"):
        made(Outputs(MEMBERS[0], heads=torch.stack(MEMBERS)), Signal(None, MEMBERS[:1]), batch)
    with pytest.raises(ValueError, match=r"logits of shape \(4, 5\) beside a member of shape \(4, 6\)"):
        made(Outputs(MEMBERS[0][:, 1:], heads=torch.stack(MEMBERS)), Signal(None, MEMBERS), batch)


def test_heads_and_members_must_be_as_many() -> None:
    made, batch = HeadsLoss(HeadsLossSettings()), Batch(torch.arange(4), torch.zeros(4, 1), torch.zeros(4).long())
    with pytest.raises(ValueError, match="2 heads for an ensemble of 3 members"):
        made(Outputs(MEMBERS[0], heads=torch.stack(MEMBERS[:2])), Signal(None, MEMBERS), batch)
    with pytest.raises(ValueError, match="needs a network with several heads"):
        made(Outputs(MEMBERS[0]), Signal(None, MEMBERS), batch)
