import math
from dataclasses import replace

import pytest
import torch

from kd_asr.device import Device
from kd_asr.errors import UserError
from kd_asr.networks.base import Network, count_parameters, seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.ensemble import Ensemble, average_log_posteriors
from kd_asr.networks.files import load_network, save_network
from kd_asr.networks.inference import evaluation_mode, log_posteriors
from kd_asr.networks.tdnn import TdnnSettings
from kd_asr.registry import named

SETTINGS = DnnSettings(left_context=2, right_context=1, hidden_layers=2, hidden_units=16, dropout=0.3)
FEATURES = {"num_mel_bins": 10}


def seeded_dnn(inputs: int, classes: int, settings: DnnSettings, seed: int) -> Network:
    return seeded(named("network", "dnn", settings), (inputs,), classes, seed)


def test_parameters_are_those_of_the_formula() -> None:
    model = seeded_dnn(40, 9, SETTINGS, 1)
    assert count_parameters(model) == 40 * 16 + 2 * 16 + 16 * 16 + 2 * 16 + 16 * 9 + 9
    plain = DnnSettings(hidden_layers=8, hidden_units=2560, batch_normalisation=False, dropout=0)
    expected = (26 * 40 + 1) * 2560 + 7 * (2560 + 1) * 2560 + (2560 + 1) * 14000
    assert count_parameters(seeded_dnn(26 * 40, 14000, plain, 1)) == expected
    assert 80e6 < expected < 90e6  # the paper's "about 85M parameters"


def test_initial_weights_depend_on_the_seed_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (seeded_dnn(40, 9, SETTINGS, seed).output.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("settings", [SETTINGS, TdnnSettings(dilations=(1, 3))], ids=["dnn", "tdnn"])
def test_hidden_layers_start_at_the_scale_asked_for(settings) -> None:
    name = "dnn" if settings is SETTINGS else "tdnn"
    plain, small = (
        seeded(named("network", name, replace(settings, hidden_units=400, initial_scale=scale)), (40,), 9, 1)
        for scale in (1.0, 0.25)
    )
    wholes, parts = ([one for name, one in model.named_parameters() if one.ndim > 1] for model in (plain, small))
    for number, (whole, part) in enumerate(zip(wholes, parts, strict=True)):
        is_output = number == len(wholes) - 1
        assert torch.equal(part, whole if is_output else whole / 4)
        expected = (2 / (400 + 9)) ** 0.5 if is_output else (2 / whole.shape[1]) ** 0.5
        assert float(whole.detach().std()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("average", ["arithmetic", "geometric"])
def test_averages_by_hand(average) -> None:
    p, q = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.4, 0.6]])
    averaged = average_log_posteriors([p.log(), q.log()], average).exp()
    a, b = math.sqrt(0.9 * 0.4), math.sqrt(0.1 * 0.6)
    expected = {"arithmetic": [0.65, 0.35], "geometric": [a / (a + b), b / (a + b)]}[average]
    assert torch.allclose(averaged, torch.tensor([expected]))


def test_ensemble_of_one_is_its_member_and_mode_is_restored() -> None:
    model = seeded_dnn(40, 9, SETTINGS, 1).train()
    inputs = torch.randn(20, 40, generator=torch.Generator().manual_seed(0))
    alone = log_posteriors(model, inputs, torch.arange(20), precision="fp32")
    assert model.training
    together = log_posteriors(Ensemble([model, model], "geometric"), inputs, torch.arange(20), precision="fp32")
    assert torch.allclose(alone, together, atol=1e-6)
    assert torch.allclose(alone.exp().sum(1), torch.ones(20), atol=1e-5)
    with evaluation_mode(model):
        assert not model.training
    assert model.training


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257])
def test_posteriors_of_a_batch_are_those_of_its_rows(rows: int, device: Device) -> None:
    model = device.put(seeded_dnn(40, 9, SETTINGS, 1))
    inputs = torch.randn(600, 40, generator=torch.Generator().manual_seed(0))
    for precision in ("fp32", "bf16"):
        whole = log_posteriors(model, inputs, torch.arange(600), precision=precision)
        some = log_posteriors(model, inputs, torch.arange(rows), precision=precision)
        assert some.shape == (rows, 9)
        assert torch.allclose(some, whole[:rows], atol=1e-5 if precision == "fp32" else 1e-2)


def test_bf16_posteriors_are_close_to_fp32(device: Device) -> None:
    model = device.put(seeded_dnn(40, 9, SETTINGS, 1).eval())
    inputs = torch.randn(200, 40, generator=torch.Generator().manual_seed(0))
    exact, rounded = (log_posteriors(model, inputs, torch.arange(200), precision=name) for name in ("fp32", "bf16"))
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).abs().max() < 0.1


def test_files_round_trip_and_refuse(tmp_path) -> None:
    model = seeded_dnn(40, 9, SETTINGS, 1)
    path = tmp_path / "model.safetensors"
    save_network(path, model, FEATURES)
    read = load_network(path, FEATURES)
    assert read.settings == SETTINGS
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(UserError, match="was trained on features"):
        load_network(path, {"num_mel_bins": 80})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"is damaged .*: delete the folder of its stage"):
        load_network(path)
