"""A network with several heads is the mean of its heads, whatever its body."""

from dataclasses import replace

import pytest
import torch

from kd_asr.networks.base import network_class, outputs_of, seeded, view_of
from kd_asr.networks.heads import HeadsSettings
from kd_asr.networks.sizes import of_size
from kd_asr.registry import Named, named

BINS, CLASSES, HEADS = 8, 5, 3


def body_of(name: str, **own: object) -> Named:
    return named("network", name, replace(named("network", name).settings, hidden_units=12, dropout=0.0, **own))


def with_heads(body: Named) -> Named:
    return named("network", "heads", HeadsSettings(HEADS, body))


@pytest.mark.parametrize("name", ["dnn", "tdnn", "cnn"])
def test_the_logits_are_the_mean_of_the_heads_posteriors(name: str) -> None:
    network = with_heads(body_of(name))
    view = view_of(network)
    assert view == view_of(network.settings.body)
    model = seeded(network, view.input_shape(BINS), CLASSES, 1).eval()
    inputs = torch.randn(4, model.input_size) if name != "tdnn" else torch.randn(4, sum(view.context) + 7, BINS)
    outputs = outputs_of(model, inputs)
    assert outputs.heads.shape == (HEADS, len(outputs.logits), CLASSES)
    assert torch.allclose(outputs.logits.exp(), outputs.heads.softmax(2).mean(0), atol=1e-6)
    alone = seeded(network.settings.body, view.input_shape(BINS), HEADS * CLASSES, 1).eval()
    assert torch.equal(alone(inputs).view(-1, HEADS, CLASSES).transpose(0, 1), outputs.heads)
    assert outputs_of(alone, inputs).heads is None


def test_only_the_labelled_frames_of_a_body_are_asked_for() -> None:
    model = seeded(with_heads(body_of("tdnn", frame_stride=3, chunk_frames=4)), (BINS,), CLASSES, 1).eval()
    inputs = torch.randn(2, sum(model.own_view.context) + 10, BINS)
    assert len(model(inputs)) == 20
    model.only_labelled = True
    assert model.body.only_labelled and len(model(inputs)) == 8


def test_principal_components_of_a_body_become_part_of_what_is_saved() -> None:
    network, inputs = with_heads(body_of("dnn", principal_components=6)), torch.randn(200, 15 * BINS)
    model = network_class("heads").for_training(inputs, (15, BINS), CLASSES, network.settings).eval()
    saved = model.as_saved()
    assert type(saved.body) is network_class("dnn") and type(model.body) is not type(saved.body)
    assert torch.allclose(saved(inputs), model(inputs), atol=1e-5)


def test_heads_within_heads_and_problems_of_the_body_are_refused() -> None:
    nested = HeadsSettings(2, with_heads(body_of("dnn")))
    assert network_class("heads").problems(nested, (15, BINS)) == ["body: heads has several heads itself"]
    (problem,) = network_class("heads").problems(HeadsSettings(2, body_of("tdnn")), (28, 28))
    assert problem.startswith("body: tdnn.dilations")


def test_a_smaller_size_makes_the_body_narrower() -> None:
    network = with_heads(body_of("dnn"))
    small = of_size(network, 0.5, (15, BINS), CLASSES)
    assert small.settings.heads == HEADS and 1 < small.settings.body.settings.hidden_units < 12
