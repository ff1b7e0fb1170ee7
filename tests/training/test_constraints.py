import torch
from torch import nn

from kd_asr.networks.base import seeded
from kd_asr.networks.semi_orthogonal import SemiOrthogonal, orthogonal_step
from kd_asr.networks.stack import Stack
from kd_asr.networks.tdnnf import TdnnfSettings
from kd_asr.registry import named
from kd_asr.training.constraints import keep_semi_orthogonal, limit_incoming_norms


def test_long_rows_are_cut_and_short_ones_are_left() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]))
        model[0].bias.fill_(9.0)
        model[2].weight.copy_(torch.tensor([[0.0, 2.0, 0.0]]))
    limit_incoming_norms(model, max_norm=1.0)
    assert torch.allclose(model[0].weight, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))
    assert torch.allclose(model[2].weight, torch.tensor([[0.0, 1.0, 0.0]]))
    assert torch.equal(model[0].bias, torch.full((3,), 9.0))


def unevenness(weight: torch.Tensor) -> float:
    """Largest singular value over the smallest: 1 where the rows are orthogonal and of one length."""
    values = torch.linalg.svdvals(weight)
    return float(values[0] / values[-1])


def test_a_step_is_that_of_the_paper() -> None:
    """On singular values: M = U S V' becomes U f(S) V' with f(s) = s - (s^2 - a^2) s / (2 a^2)."""
    generator = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(8, 3, generator=generator, dtype=torch.float64))
    values = torch.tensor([2.0, 2.05, 1.98], dtype=torch.float64)
    scale = (values**4).sum() / (values**2).sum()
    expected = values - (values**2 - scale) * values / (2 * scale)
    found = orthogonal_step(left @ torch.diag(values) @ right.T)
    assert torch.allclose(found, left @ torch.diag(expected) @ right.T)
    assert torch.allclose(orthogonal_step(3.0 * right.T), 3.0 * right.T)  # any multiple is left alone


def test_random_weights_become_semi_orthogonal_and_every_fourth_update_counts() -> None:
    torch.manual_seed(0)
    layer = SemiOrthogonal(60, 20)
    drawn, size = layer.weight.detach().clone(), float(layer.weight.detach().norm())
    changed = []
    for _ in range(120):
        before = layer.weight.detach().clone()
        keep_semi_orthogonal(nn.Sequential(layer))
        changed.append(not torch.equal(before, layer.weight))
    assert changed[:8] == [False, False, False, True] * 2
    assert unevenness(drawn) > 2 and unevenness(layer.weight.detach()) < 1.001
    assert 0.5 < float(layer.weight.detach().norm()) / size < 2  # the scale stays near what it was


def test_the_networks_of_a_stack_are_constrained_each_by_itself() -> None:
    network = named("network", "tdnnf", TdnnfSettings(dilations=(1, 0), hidden_units=16))
    alone, together = ([seeded(network, (4,), 3, seed) for seed in (1, 2)] for _ in range(2))
    stack = Stack(together)
    for _ in range(5):
        keep_semi_orthogonal(stack)
        for one in alone:
            keep_semi_orthogonal(one)
    stack.unstack()
    for one, other in zip(alone, together, strict=True):
        for name, value in one.state_dict().items():
            assert torch.allclose(value, other.state_dict()[name], atol=1e-6), name
        assert int(one.narrow.updates) == 5
