"""What holds of every network: each registered one is found here by itself, and one of a user's own beside them."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from kd_asr.device import HOST, Device
from kd_asr.distillation.objectives import HARD, objective_of
from kd_asr.errors import UserError
from kd_asr.networks.adaptation import SpeakerStatistics
from kd_asr.networks.base import Network, network_class, outputs_of, problems_of, seeded, view_of
from kd_asr.networks.files import load_network, save_network
from kd_asr.networks.inference import log_posteriors_of_batch
from kd_asr.networks.views import Windows
from kd_asr.registry import Named, named, names
from kd_asr.training.examples import Examples
from kd_asr.training.fit import fit
from kd_asr.training.settings import TrainSettings

BINS, CLASSES, BATCH = 8, 5, 6


@dataclass(frozen=True)
class OwnSettings:
    """A network of a user's own.

    Attributes:
        units: Hidden units.
    """

    units: int = 8


class Own(Network):
    """One hidden layer."""

    Settings = OwnSettings

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: OwnSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        self.layers = nn.Sequential(
            nn.Linear(self.input_size, settings.units), nn.Tanh(), nn.Linear(settings.units, num_classes)
        )

    @classmethod
    def view(cls, settings: OwnSettings) -> Windows:
        return Windows(1, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(inputs)
        return logits


class NoNetwork(nn.Module):
    Settings = OwnSettings


OWN = "test_every_network:Own"


def small(name: str) -> Named:
    """A network with few units, no dropout, and the defaults of all else."""
    settings = named("network", name).settings
    wanted = {"hidden_units": 12, "channels": 2, "dropout": 0.0, "dilations": (1, 2, 3)}
    if hasattr(settings, "body"):
        wanted["body"] = small(settings.body.name)
    own = {key: value for key, value in wanted.items() if hasattr(settings, key)}
    return named("network", name, replace(settings, **own))


@pytest.fixture(params=[*names("network"), OWN])
def network(request: pytest.FixtureRequest) -> Named:
    return small(request.param)


def shape_of(network: Named) -> tuple[int, ...]:
    return view_of(network).input_shape(BINS)


def inputs_of(network: Named, seed: int = 1, labels: int | None = None) -> torch.Tensor:
    """A batch of what the network's view shows in evaluation: rows, or stretches of so many frames."""
    generator, shape = torch.Generator().manual_seed(seed), shape_of(network)
    if len(shape) > 1:
        return torch.randn(BATCH, math.prod(shape), generator=generator)
    frames = sum(view_of(network).context) + (labels or 7)
    return torch.randn(BATCH, frames, BINS, generator=generator)


def used(network: Named, device: Device = HOST) -> Network:
    """A network whose normalisation has seen data, in evaluation mode on a device."""
    model = seeded(network, shape_of(network), CLASSES, 1)
    model(inputs_of(network, seed=2))
    return device.put(model.eval())


def test_there_is_a_row_of_logits_for_every_label(network: Named, device: Device) -> None:
    model = used(network, device)
    labels = 1 if len(shape_of(network)) > 1 else 7
    logits = model(device.put(inputs_of(network)))
    assert logits.shape == (BATCH * labels, CLASSES)
    on_the_host = used(network)(inputs_of(network))
    assert torch.allclose(HOST.put(logits), on_the_host, rtol=1e-4, atol=1e-5)
    assert (model.num_classes, model.input_shape) == (CLASSES, shape_of(network))


def test_a_seed_decides_the_weights_and_the_generator_is_left_alone(network: Named) -> None:
    before = torch.get_rng_state()
    one, same, other = (seeded(network, shape_of(network), CLASSES, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


def test_every_parameter_has_a_gradient(network: Named, device: Device) -> None:
    model = device.put(seeded(network, shape_of(network), CLASSES, 1).train())
    model(device.put(inputs_of(network))).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


def test_what_is_saved_is_loaded_with_equal_outputs(network: Named, tmp_path) -> None:
    model = used(network).as_saved()
    save_network(tmp_path / "model.safetensors", model, {"num_mel_bins": BINS})
    read = load_network(tmp_path / "model.safetensors", {"num_mel_bins": BINS})
    assert (type(read).__qualname__, read.settings) == (type(model).__qualname__, model.settings)
    assert torch.equal(read(inputs_of(network)), model(inputs_of(network)))


@pytest.mark.parametrize("training", [False, True])
def test_taps_have_their_widths_and_a_row_for_every_label(network: Named, training: bool, device: Device) -> None:
    model = used(network, device).train(training)
    outputs = outputs_of(model, device.put(inputs_of(network)), model.taps)
    assert {name: one.shape for name, one in outputs.taps.items()} == {
        name: (len(outputs.logits), width) for name, width in model.taps.items()
    }
    with pytest.raises(UserError, match="no middle layer 'nothing': choose one of"):
        outputs_of(model, device.put(inputs_of(network)), ["nothing"])


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 5e-2)])
def test_an_example_alone_gives_what_it_gives_in_a_batch(
    network: Named, precision, tolerance: float, device: Device
) -> None:
    model, inputs = used(network, device), inputs_of(network)
    whole = log_posteriors_of_batch(model, inputs, precision=precision).unflatten(0, (BATCH, -1))
    for number in range(BATCH):
        alone = log_posteriors_of_batch(model, inputs[number : number + 1], precision=precision)
        assert torch.allclose(alone, whole[number], atol=tolerance)


def test_adaptation_changes_statistics_and_nothing_else(network: Named, device: Device) -> None:
    model, inputs = used(network, device), device.put(inputs_of(network))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    unadapted = model(inputs)
    statistics = SpeakerStatistics([model], 10, precision="fp32")
    statistics.adapt_to("someone", lambda: (HOST.put(3.0 * inputs), 100))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert all("running" in name or name.endswith("num_batches_tracked") for name in changed)
    assert torch.equal(model(inputs), unadapted) == (not changed)
    assert bool(changed) == any("running_mean" in name for name in before)
    statistics.restore()
    assert torch.equal(model(inputs), unadapted)


def test_it_has_no_problem_with_its_own_view_and_names_those_it_has(network: Named) -> None:
    assert problems_of(network, shape_of(network)) == []
    for problem in problems_of(network, (28, 28)):
        field = problem.partition(":")[0].removeprefix(f"{network.name}.")
        assert hasattr(network.settings, field)


def test_a_time_delay_network_sees_no_images() -> None:
    (problem,) = problems_of(small("tdnn"), (28, 28))
    assert "not images of 28 x 28" in problem


def test_a_class_of_ones_own_is_trained(tmp_path, device: Device) -> None:
    network = named("network", OWN)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 3 * BINS, generator=generator)
    labels = (inputs[:, 0] > 0).long()
    model = seeded(network, shape_of(network), CLASSES, 1)
    batch = Examples(inputs, labels).batch(torch.arange(64))
    before = objective_of(HARD)(outputs_of(model, inputs), batch).total.item()
    budget = TrainSettings(epochs=20, batch_frames=16, learning_rate=0.02)
    options = {"seed": 1, "device": device, "folder": tmp_path}
    fit(model, Examples(inputs, labels), objective_of(HARD), budget, **options, validate=None)
    after = objective_of(HARD)(outputs_of(model, inputs), batch).total.item()
    assert after < 0.5 * before
    save_network(tmp_path / "model.safetensors", model, {})
    assert torch.equal(load_network(tmp_path / "model.safetensors")(inputs), model(inputs))


def test_a_class_that_is_no_network_is_refused() -> None:
    with pytest.raises(UserError, match=r"not a subclass of kd_asr\.networks\.base\.Network"):
        network_class("test_every_network:NoNetwork")


def test_any_module_has_taps_by_the_names_of_its_submodules() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    inputs = torch.randn(5, 3)
    outputs = outputs_of(model, inputs, ["1"])
    assert torch.equal(outputs.taps["1"], model[1](model[0](inputs)))
    assert torch.equal(outputs.logits, model(inputs))
    assert not model[1]._forward_hooks
