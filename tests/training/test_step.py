"""A step runs where its device is, and the host never waits for it.

Torch's fake tensors have a device but no numbers: they refuse to meet tensors of another device, and to be looked at.
`meta` stands for any device but the host.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorDeviceMismatchError
from torch.utils._python_dispatch import TorchDispatchMode

from kd_asr.device import Device
from kd_asr.distillation.batch import Batch, joined
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.objectives import (
    HARD,
    Objective,
    PeersObjective,
    hinton_losses,
    objective_of,
    tap_losses,
    weighted,
)
from kd_asr.distillation.signal import Signal, tail_sum, top_k_targets
from kd_asr.distillation.teachers.live import LiveTeacher
from kd_asr.networks.adaptation import SpeakerStatistics
from kd_asr.networks.adapted import Adapted
from kd_asr.networks.base import Network, network_class, seeded, tap_width, view_of
from kd_asr.networks.inference import log_posteriors_of_batch
from kd_asr.networks.peers import Peers
from kd_asr.networks.stack import Stack
from kd_asr.registry import Named, find, named, names
from kd_asr.streams import Stream, drawing_as_one
from kd_asr.training.constraints import limit_incoming_norms
from kd_asr.training.settings import TrainSettings
from kd_asr.training.step import RunningMeans, new_optimiser, stacked_step, step

FAR = Device("meta")
BINS, CLASSES, BATCH = 8, 5, 6


@pytest.fixture
def fake() -> Iterator[None]:
    with FakeTensorMode():
        yield


def placed(model: nn.Module) -> nn.Module:
    """On `FAR`; `Device.put` moves fake weights no more than torch does."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(parameter.detach().to(FAR.torch_device))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to(FAR.torch_device)
    return model


def network_of(name: str, seed: int = 1) -> Network:
    """A network with dropout."""

    def small(name: str) -> Named:
        settings = named("network", name).settings
        wanted = {"hidden_units": 12, "channels": 2, "dropout": 0.2, "input_dropout": 0.1, "dilations": (1, 3)}
        if hasattr(settings, "body"):
            wanted["body"] = small(settings.body.name)
        own = {key: value for key, value in wanted.items() if hasattr(settings, key)}
        return named("network", name, replace(settings, **own))

    network = small(name)
    return seeded(network, view_of(network).input_shape(BINS), CLASSES, seed)


def inputs_of(model: Network) -> torch.Tensor:
    """A batch as in training."""
    shape, view = model.input_shape, model.own_view
    if len(shape) > 1:
        return torch.randn(BATCH, math.prod(shape))
    stretch = (view.labels_per_example - 1) * getattr(view, "frame_stride", 1) + 1
    return torch.randn(BATCH, sum(view.context) + stretch, BINS)


def batch_of(model: Network) -> Batch:
    """With soft targets and another teacher's posteriors."""
    count = BATCH * model.own_view.labels_per_example
    labels = torch.randint(0, CLASSES, (count,))
    targets = top_k_targets(torch.randn(count, CLASSES).log_softmax(dim=1), 3)
    signal = Signal(targets, tuple(torch.randn(2, count, CLASSES).log_softmax(dim=2)))
    return Batch(torch.arange(BATCH), inputs_of(model), labels, signal)


def take_steps(model: nn.Module, batch: Batch, objective: Objective, optimiser: Any, device: Device) -> RunningMeans:
    """Three updates as `fit` makes them."""
    running = RunningMeans()
    taps = [loss.student_tap for loss in tap_losses(objective).values()]
    for _ in range(3):
        value = step(model, device.put(batch), objective, optimiser, taps=taps, device=device, bf16=False, weight=1.1)
        limit_incoming_norms(model, max_norm=1.0)
        running.add(value, 1.1)
    return running


def plain(model: nn.Module) -> torch.optim.Optimizer:
    """Torch's fused optimisers know no fake tensors."""
    return torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)


# Losses on sequences have batches of their own, in `tests/sequence/test_sequence_training.py`.
FRAME_LOSSES = [name for name in names("loss") if "graphs" not in find("loss", name).needs]
OBJECTIVES = {name: [weighted(name)] for name in FRAME_LOSSES} | {"soft and hard": hinton_losses(2.0, 1.0, 0.5)}


@pytest.mark.parametrize("name", names("network"))
def test_every_network_is_trained_on_its_device_without_a_look_at_it(fake, name: str) -> None:
    model = network_of(name)
    batch = batch_of(model)
    running = take_steps(placed(model), batch, objective_of(HARD), plain(model), FAR)
    with pytest.raises(DataDependentOutputException):
        running.take()  # this is where the host looks


@pytest.mark.parametrize("losses", OBJECTIVES.values(), ids=OBJECTIVES)
def test_every_loss_stays_on_its_device_and_is_not_looked_at(fake, losses) -> None:
    several = any("heads" in find("loss", item.loss.name).needs for item in losses)
    model, objective = network_of("heads" if several else "dnn"), objective_of(losses)
    batch, trained = batch_of(model), model
    for name, loss in tap_losses(objective).items():
        taps = {loss.teacher_tap: torch.zeros(len(batch.hard_labels), 3)}
        batch = replace(batch, signal=replace(batch.signal, taps=taps))
        trained = Adapted(model, {name: loss.adapter(tap_width(model.taps, loss.student_tap, who="dnn"), 3)})
    take_steps(placed(trained), batch, objective, plain(trained), FAR)


def test_networks_that_are_trained_together_stay_on_their_device(fake) -> None:
    model = Peers({"one": network_of("dnn"), "two": network_of("dnn", seed=2)})
    batch = batch_of(model.networks["one"])
    placed(model)
    take_steps(model, batch, PeersObjective(objective_of([*HARD, weighted("peers")])), plain(model), FAR)


@pytest.mark.parametrize("name", names("network"))
def test_networks_are_applied_and_adapted_on_their_device(fake, name: str) -> None:
    model = network_of(name).eval()
    inputs = inputs_of(model)
    placed(model)
    statistics = SpeakerStatistics([model], 10, precision="fp32")
    statistics.adapt_to("someone", lambda: (inputs, 100))
    log_probs = log_posteriors_of_batch(model, inputs, precision="fp32")
    assert log_probs.device == FAR.torch_device
    targets = top_k_targets(log_probs, 3)
    assert tail_sum(log_probs, targets.classes).device == targets.tail_prior.device == FAR.torch_device


def test_a_live_teacher_answers_from_its_device(fake) -> None:
    members = [network_of("dnn"), network_of("dnn", seed=2)]
    inputs = inputs_of(members[0])
    frozen = [placed(member).requires_grad_(False) for member in members]  # others would be copied
    teacher = LiveTeacher(frozen, precision="fp32")
    signal = teacher.answer(FAR.put(Batch(torch.arange(4), inputs[:4], torch.zeros(4, dtype=torch.int64))))
    targets = signal.targets
    found = [targets.classes, targets.log_probs, targets.log_tail_mass, targets.tail_prior, *signal.members]
    assert {one.device for one in found} == {FAR.torch_device}


def test_what_is_made_on_the_host_is_noticed(fake) -> None:
    """The proof above proves something: a mask that is drawn on the host cannot meet the outputs."""

    class OnTheHost(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs * (torch.rand(inputs.shape) > 0.5)

    model = network_of("dnn")
    batch = batch_of(model)
    wrong = nn.Sequential(placed(model), OnTheHost())
    with pytest.raises(FakeTensorDeviceMismatchError):
        take_steps(wrong, batch, objective_of(HARD), plain(wrong), FAR)


class _NoLook(TorchDispatchMode):
    """Fails where a number of a tensor is read."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "the host looks at a number"
        return func(*args, **(kwargs or {}))


def test_a_look_is_noticed() -> None:
    with pytest.raises(AssertionError, match="the host looks at a number"), _NoLook():
        torch.ones(1).item()


@contextmanager
def without_waiting(device: Device) -> Iterator[None]:
    """Where a card is, torch itself says whether the host waits for it."""
    torch.cuda.set_sync_debug_mode("error") if device.kind == "cuda" else None
    try:
        with _NoLook() if device.kind != "cuda" else nullcontext():
            yield
    finally:
        torch.cuda.set_sync_debug_mode("default") if device.kind == "cuda" else None


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("name", names("network"))
def test_no_step_waits_for_the_device(name: str, optimiser, device: Device) -> None:
    model = device.put(network_of(name))
    batch = batch_of(model)
    batch.hard_labels[::3] = UNLABELLED
    objective = objective_of([*OBJECTIVES["soft and hard"], weighted("decoupled"), weighted("reverse_kl")])
    made = new_optimiser(model, TrainSettings(optimiser=optimiser))
    take_steps(model, batch, objective, made, device)  # libraries are set up
    with without_waiting(device):
        running = take_steps(model, batch, objective, made, device)
    total, losses = running.take()
    assert math.isfinite(total) and set(losses) == {"soft", "hard", "decoupled", "reverse_kl"}


@pytest.mark.parametrize("name", [name for name in names("network") if network_class(name).stacks])
def test_no_step_of_a_stack_waits_for_the_device(name: str, device: Device) -> None:
    networks = [device.put(network_of(name, seed)) for seed in (1, 2, 3)]
    hinton = objective_of(OBJECTIVES["soft and hard"])
    objectives = [hinton, hinton, objective_of([*HARD, weighted("kl")])]
    examples = [batch_of(network) for network in networks]
    for batch in examples:
        batch.hard_labels[::3] = UNLABELLED
    batch = device.put(joined(examples))
    stack, running = Stack(networks), [RunningMeans() for _ in networks]
    made = new_optimiser(stack, TrainSettings(), axes=1, recorded=device.records)
    streams = [Stream(device, seed) for seed in (1, 2, 3)]

    def update() -> None:
        with drawing_as_one(streams):
            values = stacked_step(stack, batch, objectives, made, device=device, bf16=False)
        limit_incoming_norms(stack.stacked, max_norm=1.0)
        for one, value in zip(running, values, strict=True):
            one.accumulate(value)

    update()  # libraries are set up
    with without_waiting(device):
        update()
    for one in running:
        one.count = 2
    assert all(math.isfinite(one.take()[0]) for one in running)
