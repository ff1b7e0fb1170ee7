"""Networks that are pruned, factored and rounded, against counts, numpy and torch's own quantisation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from kd_asr.errors import UserError
from kd_asr.networks.base import Network, count_parameters, network_class, new_network, problems_of, seeded, view_of
from kd_asr.networks.files import load_network, save_network
from kd_asr.networks.gradual import pruned_share
from kd_asr.networks.low_rank import Factors, LowRankSettings, rank_of
from kd_asr.networks.pruned import Pruned, PrunedSettings
from kd_asr.networks.pruned_units import PrunedUnits, PrunedUnitsSettings, units_left
from kd_asr.networks.quantised import (
    Quantised,
    QuantisedSettings,
    RoundingLinear,
    activation_scale,
    rounded_activations,
    rounded_weights,
)
from kd_asr.registry import Named, named
from kd_asr.settings.build import build

BINS, CLASSES = 8, 5


def body(name: str = "dnn", units: int = 12, **others: object) -> Named:
    settings = named("network", name).settings
    own = {"hidden_units": units, "dropout": 0.0, "dilations": (1, 3), **others}
    return named("network", name, replace(settings, **{one: own[one] for one in own if hasattr(settings, one)}))


def trained(network: Named, seed: int = 1) -> Network:
    """A network whose normalisation has seen data and whose parameters are none of the initial ones."""
    model = seeded(network, view_of(network).input_shape(BINS), CLASSES, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    model(inputs_of(network))
    return model.eval()


def inputs_of(network: Named) -> torch.Tensor:
    shape, generator = view_of(network).input_shape(BINS), torch.Generator().manual_seed(3)
    if len(shape) > 1:
        return torch.randn(16, int(np.prod(shape)), generator=generator)
    return torch.randn(2, 20, BINS, generator=generator)


def around(name: str, settings: object, start: Network, updates: int = 0) -> Network:
    """A network around one like `start`, ready to be trained from its weights."""
    asked = Named("network", name, settings)
    model = new_network(asked, inputs_of(asked), start.input_shape, CLASSES, 1)
    model.start_from(start)
    if updates:
        model.begin(updates)
    return model


def test_the_pruned_share_grows_by_the_cubic_law() -> None:
    found = [pruned_share(update, final=0.8, first=10, last=30) for update in (0, 10, 15, 20, 25, 30, 99)]
    # 0.8 (1 - 0.75³), 0.8 (1 - 0.5³), 0.8 (1 - 0.25³)
    assert found == pytest.approx([0, 0, 0.4625, 0.7, 0.7875, 0.8, 0.8])


@pytest.mark.parametrize("kind", ["dnn", "tdnn", "cnn"])
def test_as_many_weights_as_asked_for_are_zero_and_the_smallest(kind: str) -> None:
    plain = trained(body(kind, channels=2))
    model = around("pruned", PrunedSettings(sparsity=0.6, body=body(kind, channels=2)), plain)
    saved = model.as_saved()
    assert type(saved) is type(plain) and saved.settings == plain.settings
    layers = [name for name, module in plain.named_modules() if type(module) in (nn.Linear, nn.Conv2d)]
    assert len(layers) >= 2
    for name in layers:
        before, after = plain.get_submodule(name).weight.detach(), saved.get_submodule(name).weight.detach()
        assert int((after == 0).sum()) == round(0.6 * after.numel())
        assert torch.equal(after[after != 0], before[after != 0])
        assert before[after == 0].abs().max() < before[after != 0].abs().min()
    inputs = inputs_of(body(kind))
    assert torch.allclose(model.eval()(inputs), saved.eval()(inputs), atol=1e-6)


def test_pruning_follows_the_updates_and_hidden_weights_have_no_gradient() -> None:
    plain = trained(body())
    model = around("pruned", PrunedSettings(sparsity=0.5, first=0.25, last=0.75, body=body()), plain, updates=40)
    assert isinstance(model, Pruned)
    zeros = []
    for _ in range(40):
        model.train()(inputs_of(body())).square().sum().backward()
        zeros.append(int(sum((layer.mask == 0).sum() for layer in model.layers)))
    weights = [layer.weight.numel() for layer in model.layers]
    expected = [
        sum(round(pruned_share(update, final=0.5, first=10, last=30) * count) for count in weights)
        for update in range(40)
    ]
    assert zeros == expected
    assert zeros[9] == 0 < zeros[20] < zeros[30] == sum(round(0.5 * count) for count in weights)
    fresh = around("pruned", model.settings, plain, updates=40)
    for layer in model.layers:
        layer.weight.grad = None
    model(inputs_of(body())).square().sum().backward()
    for layer in model.layers:
        assert layer.weight.grad is not None and not layer.weight.grad[layer.mask == 0].any()
    # A checkpoint goes on where it was.
    fresh.load_state_dict(model.state_dict())
    assert fresh.get_extra_state() == 41
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in fresh.state_dict().items())


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("kind", ["dnn", "tdnn"])
def test_fewer_units_do_what_masked_units_do(kind: str, normalised: bool, tmp_path) -> None:
    whole = body(kind, units=20, batch_normalisation=normalised)
    plain = trained(whole)
    model = around("pruned_units", PrunedUnitsSettings(kept=0.4, body=whole), plain)
    small = model.as_saved()
    assert small.settings == replace(plain.settings, hidden_units=8)
    assert count_parameters(small) < 0.6 * count_parameters(plain)
    inputs = inputs_of(whole)
    masked, narrow = model.eval()(inputs), small.eval()(inputs)
    assert torch.allclose(masked, narrow, atol=1e-6)
    assert not torch.allclose(masked, plain(inputs), atol=1e-2)
    save_network(tmp_path / "model.safetensors", small, {})
    assert torch.equal(load_network(tmp_path / "model.safetensors")(inputs), narrow)


def test_units_without_effect_go_first() -> None:
    """Units that nobody reads, and units that are always 0 behind their normalisation."""
    plain = trained(body(units=10, hidden_layers=2))
    with torch.no_grad():
        plain.hidden[3].weight[:, :3] = 0
        plain.hidden[4].weight[5:] = 0
        plain.hidden[4].bias[5:] = 0
    wanted = PrunedUnitsSettings(kept=0.7, body=body(units=10, hidden_layers=2))
    model = around("pruned_units", wanted, plain)
    assert isinstance(model, PrunedUnits)
    model.choose(0.3)
    assert torch.equal(model.body.hidden[3].mask[0], torch.tensor([0.0] * 3 + [1.0] * 7))
    assert int(model.body.output.mask[0, 5:].sum()) == 2
    model.choose(0.5)
    assert torch.equal(model.body.output.mask[0], torch.tensor([1.0] * 5 + [0.0] * 5))


def test_wide_layers_keep_a_multiple_of_eight_units() -> None:
    assert [units_left(body(units=units), 0.3) for units in (10, 100, 384)] == [3, 30, 112]


def test_units_of_other_networks_are_refused() -> None:
    asked = Named("network", "pruned_units", PrunedUnitsSettings(body=body("tdnnf")))
    assert problems_of(asked, (BINS,)) == [
        "pruned_units.body: units of tdnnf cannot be pruned, only those of dnn and tdnn"
    ]
    with pytest.raises(UserError, match=r"last: 0\.2 is not after first, 0\.5"):
        build(PrunedSettings, {"first": 0.5, "last": 0.2})


def test_factors_are_the_nearest_matrix_of_their_rank() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(30, 20)
    factors = Factors(layer, 7)
    product = (factors.wide.weight @ factors.narrow.weight).detach().double().numpy()
    weight = layer.weight.detach().double().numpy()
    values = np.linalg.svd(weight, compute_uv=False)
    assert np.linalg.matrix_rank(product, tol=1e-5) == 7
    assert np.linalg.norm(weight - product) == pytest.approx(np.sqrt((values[7:] ** 2).sum()), rel=1e-5)
    assert torch.equal(factors.wide.bias, layer.bias)
    assert rank_of(30, 20, 0.5) == 6  # 6 * 50 = 300 of 600 weights


def test_a_network_of_low_rank_begins_near_its_origin_and_goes_on_from_its_own_weights() -> None:
    plain, inputs = trained(body(units=40)), inputs_of(body())
    for share, parameters in ((0.999, 1.01), (0.4, 0.5)):
        model = around("low_rank", LowRankSettings(share, body(units=40)), plain)
        assert count_parameters(model) < parameters * count_parameters(plain)
    full = around("low_rank", LowRankSettings(0.4, body(units=40)), plain)
    for name, factors in full.factored:
        weight = plain.get_submodule(name).weight.detach()
        kept = factors.narrow.out_features
        lost = torch.linalg.svdvals(weight)[kept:].square().sum().sqrt()
        product = (factors.wide.weight @ factors.narrow.weight).detach()
        assert float((product - weight).norm()) == pytest.approx(float(lost), rel=1e-3)
    again = around("low_rank", full.settings, full)
    assert torch.equal(again.eval()(inputs), full.eval()(inputs))


def test_rounding_is_torchs_fake_quantisation_with_its_gradients() -> None:
    torch.manual_seed(1)
    weight = torch.randn(6, 9, requires_grad=True)
    scales = weight.detach().abs().amax(1) / 64
    expected = torch.fake_quantize_per_channel_affine(weight, scales, torch.zeros(6, dtype=torch.int32), 0, -64, 64)
    found = rounded_weights(weight)
    assert torch.allclose(found, expected, atol=1e-6)
    upstream = torch.randn(6, 9)
    assert torch.equal(torch.autograd.grad(found, weight, upstream)[0], upstream)
    values = (3 * torch.randn(200)).requires_grad_()
    scale, zero = activation_scale(torch.tensor(-2.0), torch.tensor(4.0))
    expected = torch.fake_quantize_per_tensor_affine(values, float(scale), int(zero), 0, 255)
    found = rounded_activations(values, scale, zero)
    assert torch.allclose(found, expected, atol=1e-6)
    [gradient] = torch.autograd.grad(found.sum(), values)
    # Torch lets the gradient through up to half a step beyond the range.
    clear = ((values < -2.05) | (values > 4.05) | ((values > -1.95) & (values < 3.95))).detach()
    [reference] = torch.autograd.grad(expected.sum(), values)
    assert torch.equal(gradient[clear], reference[clear])
    assert 0 < int(gradient.sum()) < len(values)


def test_rounding_by_hand() -> None:
    # A step is 1 / 64 of the largest weight of the output: 0.64 -> 0.01.
    weights = torch.tensor([[0.64, 0.126, -0.004], [32.0, 0.7, -16.3]])
    assert torch.allclose(rounded_weights(weights), torch.tensor([[0.64, 0.13, 0.0], [32.0, 0.5, -16.5]]))
    # From -1 to 4.1 a step is 0.02, and step 50 means 0.
    scale, zero = activation_scale(torch.tensor(-1.0), torch.tensor(4.1))
    assert (float(scale), float(zero)) == (pytest.approx(0.02), 50)
    found = rounded_activations(torch.tensor([-3.0, -0.011, 0.0, 0.049, 9.0]), scale, zero)
    assert torch.allclose(found, torch.tensor([-1.0, -0.02, 0.0, 0.04, 4.1]), atol=1e-6)


@pytest.mark.parametrize("kind", ["dnn", "tdnn"])
def test_the_network_in_eight_bits_is_the_one_that_was_trained(kind: str, tmp_path) -> None:
    plain, inputs = trained(body(kind, units=40)), inputs_of(body(kind))
    model = around("quantised", QuantisedSettings(body(kind, units=40)), plain)
    ranges = []
    for factor in (1.0, 3.0):
        model.train()(factor * inputs)
        first = next(module for module in model.modules() if isinstance(module, RoundingLinear))
        ranges.append((float(first.low), float(first.high)))
    low, high = float(inputs.min()), float(inputs.max())
    assert ranges == [pytest.approx((low, high)), pytest.approx((2 * low, 2 * high))]  # the mean of 1 and 3
    saved = model.as_saved()
    assert isinstance(saved, Quantised)
    save_network(tmp_path / "model.safetensors", saved, {})
    read = load_network(tmp_path / "model.safetensors")
    assert torch.allclose(read(inputs), model.eval()(inputs), atol=1e-5)
    apart = (read(inputs) - read.plain()(inputs)).abs()
    assert apart.max() > 1e-4 and apart.mean() < 0.1
    assert count_parameters(read) == count_parameters(plain)
    save_network(tmp_path / "plain.safetensors", plain, {})
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("model", "plain")]
    assert sizes[0] < 0.6 * sizes[1]
    # Quantised again, its weights stay what they are.
    again = around("quantised", model.settings, read).as_saved()
    assert isinstance(again, Quantised)
    assert torch.allclose(again.plain().eval()(inputs), read.plain()(inputs), atol=1e-5)


def test_eight_bits_go_around_a_network_of_low_rank() -> None:
    factored = Named("network", "low_rank", LowRankSettings(0.5, body(units=40)))
    low_rank = around("low_rank", factored.settings, trained(body(units=40)))
    low_rank.eval()
    model = around("quantised", QuantisedSettings(factored), low_rank)
    inputs = inputs_of(body())
    for _ in range(50):  # until the statistics of the normalisation are those of these inputs
        model.train()(inputs)
    saved = model.as_saved().eval()
    assert len(saved.layers) == 2 * len(dict(low_rank.factored))
    assert (saved(inputs) - saved.plain()(inputs)).abs().mean() < 0.1
    assert network_class("quantised") is Quantised
