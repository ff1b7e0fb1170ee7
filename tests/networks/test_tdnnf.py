"""The factored time-delay network: what it computes, what it sees, what a stride and the branch change."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from kd_asr.networks.base import count_parameters, outputs_of, seeded
from kd_asr.networks.sizes import of_size
from kd_asr.networks.tdnnf import TDNNF, TdnnfSettings
from kd_asr.registry import named

SETTINGS = TdnnfSettings(dilations=(1, 0, 3), hidden_units=16, dropout=0.0)


def tdnnf(settings: TdnnfSettings = SETTINGS) -> TDNNF:
    """A network whose normalisation has seen data, in evaluation mode."""
    made = seeded(named("network", "tdnnf", settings), (10,), 7, 1)
    assert isinstance(made, TDNNF)
    made(torch.randn(8, 40, 10, generator=torch.Generator().manual_seed(1)))
    return made.eval()


def test_it_is_a_stack_of_factored_convolutions() -> None:
    model = tdnnf()
    inputs = torch.randn(3, 30, 10, generator=torch.Generator().manual_seed(2))

    def normalised(normalisation: torch.nn.BatchNorm1d, signal: torch.Tensor) -> torch.Tensor:
        mean, variance = normalisation.running_mean, normalisation.running_var
        return (signal - mean[:, None]) / (variance[:, None] + 1e-5).sqrt()

    def convolved(weight: torch.Tensor, signal: torch.Tensor, frames: int, apart: int) -> torch.Tensor:
        kernel = weight.unflatten(1, (frames, -1)).transpose(1, 2)
        return F.conv1d(signal, kernel, dilation=max(1, apart))

    signal = convolved(model.first.weight, inputs.transpose(1, 2), 3, 1) + model.first.bias[:, None]
    signal = normalised(model.first_normalisation, signal.relu())
    for layer, dilation in zip(model.hidden, SETTINGS.dilations, strict=True):
        frames = 2 if dilation else 1
        inside = convolved(layer.narrow.weight, signal, frames, dilation)
        wide = (convolved(layer.wide.weight, inside, frames, dilation) + layer.wide.bias[:, None]).relu()
        past = signal[:, :, dilation : signal.shape[2] - dilation]
        signal = normalised(layer.normalisation, wide) + 0.66 * past
    rows = signal.transpose(1, 2).flatten(0, 1) @ model.narrow.weight.T
    rows = normalised(model.main.wide_normalisation, model.main.wide(rows).relu().T).T
    rows = normalised(model.main.narrow_normalisation, model.main.narrow(rows).T).T
    found = model(inputs)
    assert found.shape == (3 * 20, 7) and model.own_view.context == (5, 5)
    assert torch.allclose(found, model.main.output(rows), atol=1e-4)


@pytest.mark.parametrize(("dilations", "stride"), [((1, 0, 3), 3), ((1, 2, 2), 2), ((3, 6), 3), ((1,), 5), ((2, 1), 4)])
def test_a_stride_leaves_frames_out_and_changes_no_other(dilations, stride: int) -> None:
    model = tdnnf(replace(SETTINGS, dilations=dilations, frame_stride=stride))
    left, right = model.own_view.context
    inputs = torch.randn(3, left + 4 * stride + 1 + right, 10, generator=torch.Generator().manual_seed(3))
    every = outputs_of(model, inputs, model.taps)
    model.only_labelled = True
    some = outputs_of(model, inputs, model.taps)
    assert every.logits.shape == (3 * (4 * stride + 1), 7) and some.logits.shape == (3 * 5, 7)
    assert torch.allclose(some.logits.unflatten(0, (3, 5)), every.logits.unflatten(0, (3, -1))[:, ::stride], atol=1e-5)
    for name, rows in some.taps.items():
        whole = every.taps[name].unflatten(0, (3, -1))
        assert torch.allclose(rows.unflatten(0, (3, 5)), whole[:, ::stride], atol=1e-5)


def test_the_branch_gives_more_logits_in_training_and_none_later() -> None:
    model = tdnnf(replace(SETTINGS, cross_entropy_branch=True))
    inputs = torch.randn(2, 15, 10)
    assert model(inputs).shape == (10, 7)
    assert model.train()(inputs).shape == (10, 14)


def test_it_has_the_size_of_kaldis_network() -> None:
    made = TDNNF((40,), 2336, TdnnfSettings(cross_entropy_branch=True))
    assert 5.0e6 < count_parameters(made) < 5.3e6


def test_smaller_networks_have_narrower_bottlenecks() -> None:
    network = named("network", "tdnnf", TdnnfSettings(dilations=(1, 3), hidden_units=256))
    smaller = of_size(network, 0.25, (40,), 100).settings
    sizes = [count_parameters(TDNNF((40,), 100, settings)) for settings in (network.settings, smaller)]
    assert sizes[1] / sizes[0] == pytest.approx(0.25, abs=0.02)
