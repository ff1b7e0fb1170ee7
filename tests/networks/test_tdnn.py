from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from kd_asr.networks.base import count_parameters, outputs_of, seeded
from kd_asr.networks.ensemble import Ensemble
from kd_asr.networks.files import load_network, save_network
from kd_asr.networks.inference import log_posteriors, log_posteriors_of_batch
from kd_asr.networks.tdnn import TDNN, TdnnSettings
from kd_asr.registry import named

SETTINGS = TdnnSettings(dilations=(1, 2, 3), hidden_units=16, dropout=0.3)


def seeded_tdnn(num_mel_bins: int, num_classes: int, settings: TdnnSettings, seed: int) -> TDNN:
    made = seeded(named("network", "tdnn", settings), (num_mel_bins,), num_classes, seed)
    assert isinstance(made, TDNN)
    return made


def trained() -> TDNN:
    """A network whose normalisation has seen data."""
    model = seeded_tdnn(10, 7, SETTINGS, 1)
    model(torch.randn(8, 40, 10, generator=torch.Generator().manual_seed(1)))
    return model.eval()


def test_context_and_parameters() -> None:
    assert TDNN.view(SETTINGS).context == (6, 6)
    assert count_parameters(trained()) == 30 * 16 + 2 * 48 * 16 + 3 * 2 * 16 + 16 * 7 + 7


def test_it_is_a_stack_of_dilated_convolutions() -> None:
    model = trained()
    inputs = torch.randn(3, 30, 10, generator=torch.Generator().manual_seed(2))
    signal = inputs.transpose(1, 2)
    for layer, dilation in zip(model.hidden, SETTINGS.dilations, strict=True):
        kernel = layer.linear.weight.unflatten(1, (3, -1)).transpose(1, 2)
        signal = F.relu(layer.normalisation(F.conv1d(signal, kernel, dilation=dilation)))
    expected = F.conv1d(signal, model.output.weight[:, :, None], model.output.bias).transpose(1, 2)
    found = model(inputs)
    assert found.shape == (3 * 18, 7)
    assert torch.allclose(found, expected.flatten(0, 1), atol=1e-5)


def test_an_output_sees_its_context_and_no_more() -> None:
    model = trained()
    inputs = torch.randn(1, 33, 10, generator=torch.Generator().manual_seed(3))
    before = model(inputs)
    inputs[0, 16] += 1.0
    changed = (model(inputs) != before).any(dim=1)
    assert changed.sum() > 1
    # Output t stands over input t + 6 and sees t .. t + 12.
    assert changed.nonzero().min() >= 4 and changed.nonzero().max() <= 16


@pytest.mark.parametrize(
    ("dilations", "stride"), [((1, 2, 3), 3), ((1, 2, 3, 3, 6), 3), ((2, 1), 4), ((1, 2, 2), 2), ((3, 6), 3), ((1,), 5)]
)
def test_a_stride_leaves_frames_out_and_changes_no_other(dilations, stride: int) -> None:
    settings = replace(SETTINGS, dilations=dilations, dropout=0.0, frame_stride=stride)
    model = seeded_tdnn(10, 7, settings, 1)
    # Statistics of the batch depend on which frames a layer computes: in training mode, but with those of before.
    for layer in model.hidden:
        layer.normalisation.eval()
        layer.normalisation.running_mean.normal_(generator=torch.Generator().manual_seed(2))
    left, right = model.own_view.context
    inputs = torch.randn(3, left + 4 * stride + 1 + right, 10, generator=torch.Generator().manual_seed(3))
    tapped = outputs_of(model, inputs, model.taps)
    some = tapped.logits.unflatten(0, (3, 5))
    # The rows of a tap are those of the logits: the last hidden layer's make them, others' belong to the same frames.
    last = list(model.taps)[-1]
    assert torch.equal(model.output(tapped.taps[last]), tapped.logits)
    every = model.eval()(inputs).unflatten(0, (3, -1))
    assert every.shape == (3, 4 * stride + 1, 7)
    assert torch.allclose(some, every[:, ::stride], atol=1e-5)
    in_evaluation = outputs_of(model, inputs, model.taps).taps
    for name, rows in tapped.taps.items():
        whole = in_evaluation[name].unflatten(0, (3, -1))
        assert torch.allclose(rows.unflatten(0, (3, 5)), whole[:, ::stride], atol=1e-5)


def test_a_stride_saves_the_frames_that_no_layer_asks_for() -> None:
    model = seeded_tdnn(10, 7, replace(SETTINGS, dilations=(1, 2, 3, 6), frame_stride=3), 1)
    computed = []
    for layer in model.hidden:
        layer.register_forward_hook(lambda layer, inputs, outputs: computed.append(outputs.shape[1]))
    model(torch.randn(2, 12 + 28 + 12, 10))
    # 10 outputs; below them one sees 2 frames of every third further on either side, then 1; the first sees all.
    assert computed == [50, 16, 14, 10]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_chunks_and_whole_utterances_agree(precision) -> None:
    model = trained()
    whole = torch.randn(1, 300 + 12, 10, generator=torch.Generator().manual_seed(4))
    chunks = torch.stack([whole[0, first : first + 42] for first in range(0, 300, 30)])
    at_once = log_posteriors_of_batch(model, whole, precision=precision)
    cut = log_posteriors(model, chunks, torch.arange(10), precision=precision)
    assert at_once.shape == (300, 7)
    assert torch.allclose(at_once, cut, atol=1e-5 if precision == "fp32" else 5e-2)
    both = log_posteriors_of_batch(Ensemble([model, model], "arithmetic"), whole, precision=precision)
    assert torch.allclose(both, at_once, atol=1e-5)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    first, again, other = (seeded_tdnn(10, 7, SETTINGS, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["hidden.0.linear.weight"], other["hidden.0.linear.weight"])


def test_without_normalisation_there_are_biases() -> None:
    model = seeded_tdnn(10, 7, TdnnSettings(dilations=(1,), hidden_units=4, batch_normalisation=False), 1)
    assert count_parameters(model) == 30 * 4 + 4 + 4 * 7 + 7
    assert model(torch.randn(2, 5, 10)).shape == (6, 7)


def test_files_round_trip(tmp_path) -> None:
    model = trained()
    save_network(tmp_path / "model.safetensors", model, {"num_mel_bins": 10})
    read = load_network(tmp_path / "model.safetensors", {"num_mel_bins": 10})
    assert isinstance(read, TDNN)
    assert read.settings == SETTINGS
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in model.state_dict().items())
