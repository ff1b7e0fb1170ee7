"""Networks that are trained as one become what each of them becomes alone."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from kd_asr.device import HOST, Device
from kd_asr.distillation.objectives import HARD, Objective, hinton_losses, objective_of, weighted
from kd_asr.distillation.signal import Signal, top_k_targets
from kd_asr.distillation.teachers.base import Teacher
from kd_asr.distillation.teachers.live import LiveTeacher
from kd_asr.errors import UserError
from kd_asr.features.images import Images
from kd_asr.networks.base import Network, seeded, view_of
from kd_asr.networks.dnn import DnnSettings
from kd_asr.registry import Named, named
from kd_asr.training.checkpoints import CHECKPOINT
from kd_asr.training.constraints import limit_incoming_norms
from kd_asr.training.examples import Examples
from kd_asr.training.fit import FitResult, fit
from kd_asr.training.fit_stacked import Member, fit_stacked
from kd_asr.training.history import HISTORY
from kd_asr.training.measure import measure
from kd_asr.training.settings import TrainSettings

BINS, CLASSES, SEEDS = 8, 5, (4, 1, 7)
SETTINGS = TrainSettings(epochs=3, batch_frames=16, learning_rate=0.01, checkpoint_seconds=0.0, precision="fp32")
# Rounding of float32, grown in the 30 or so updates of these trainings.
NEAR = {"rtol": 1e-4, "atol": 2e-6}
OBJECTIVES = (HARD, hinton_losses(2.0, 1.0, 0.5), [*hinton_losses(1.0, 1.0, 0.0), weighted("decoupled")])

torch.manual_seed(0)
TARGETS = top_k_targets(torch.randn(400, CLASSES).log_softmax(dim=1), 3)


class _Teacher(Teacher):
    """Fixed soft targets."""

    def read(self, numbers: torch.Tensor) -> Signal:
        return Signal(TARGETS.select(numbers))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network_of(name: str) -> Named:
    """A small network with dropout."""
    settings = named("network", name).settings
    wanted = {"hidden_units": 12, "channels": 2, "dropout": 0.3, "input_dropout": 0.1}
    wanted |= {"chunk_frames": 4, "frame_stride": 3}
    own = {key: value for key, value in wanted.items() if hasattr(settings, key)}
    return named("network", name, replace(settings, **own))


def drawn(network: Named, seed: int, shape: tuple[int, ...] = ()) -> Network:
    return seeded(network, shape or view_of(network).input_shape(BINS), CLASSES, seed)


def examples_for(name: str) -> Examples:
    network = network_of(name)
    view = view_of(network)
    generator = torch.Generator().manual_seed(5)
    if name == "tdnn":
        labels, shape = (80, 4), (80, sum(view.context) + 10, BINS)
    else:
        labels, shape = (150,), (150, torch.Size(view.input_shape(BINS)).numel())
    hard_labels = torch.randint(0, CLASSES, labels, generator=generator)
    return Examples(torch.randn(shape, generator=generator), hard_labels, _Teacher())


def dev_for(name: str, examples: Examples) -> Examples:
    """In evaluation mode a time-delay network has an output for every frame, not for every third."""
    labels = (20, 10) if name == "tdnn" else (20,)
    generator = torch.Generator().manual_seed(6)
    return Examples(examples.inputs[:20], torch.randint(0, CLASSES, labels, generator=generator))


def members_in(folder: Path, network: Named, objectives: list[Objective], shape: tuple[int, ...] = ()) -> list[Member]:
    found = []
    for seed, objective in zip(SEEDS, objectives, strict=True):
        own = folder / f"of-{seed}"
        own.mkdir(parents=True, exist_ok=True)
        found.append(Member(f"networks/of-{seed}", drawn(network, seed, shape), objective, seed, own))
    return found


def alone(member: Member, examples: Examples, settings: TrainSettings = SETTINGS, **options) -> FitResult:
    fixed = {"seed": member.seed, "device": HOST, "folder": member.folder, "validate": None}
    return fit(member.network, examples, member.objective, settings, guarded=True, **{**fixed, **options})


def assert_equal(one: Member, other: Member) -> None:
    for (name, values), same in zip(
        one.network.state_dict().items(), other.network.state_dict().values(), strict=True
    ):
        assert torch.allclose(values, same, **NEAR), name


@pytest.mark.parametrize("name", ["dnn", "tdnn", "cnn"])
def test_three_trainings_as_one_are_the_three_trainings(tmp_path, name: str) -> None:
    """Own seeds, orders, losses and temperatures; the same dropped units, since each draws from its own generator."""
    examples, objectives = examples_for(name), [objective_of(losses) for losses in OBJECTIVES]
    single = members_in(tmp_path / "alone", network_of(name), objectives)
    stacked = members_in(tmp_path / "as_one", network_of(name), objectives)
    validate = partial(measure, examples=dev_for(name, examples), precision="fp32")
    settings = replace(SETTINGS, epochs=2, batch_frames=32, checkpoint_seconds=1e9)
    expected = [alone(member, examples, settings, validate=validate) for member in single]
    before = torch.get_rng_state()
    found = fit_stacked(stacked, examples, settings, device=HOST, validate=validate)
    assert torch.equal(torch.get_rng_state(), before)
    for one, other, own, of_stack in zip(single, stacked, expected, found, strict=True):
        assert_equal(one, other)
        assert (own.updates, own.best_epoch) == (of_stack.updates, of_stack.best_epoch)
        assert of_stack.best.cross_entropy == pytest.approx(own.best.cross_entropy, rel=1e-4)
        histories = [
            [json.loads(line) for line in (member.folder / HISTORY).read_text().splitlines()] for member in (one, other)
        ]
        for line, same in zip(*histories, strict=True):
            assert line.pop("losses") == pytest.approx(same.pop("losses"), rel=1e-4)
            assert {key: line[key] is None for key in line} == {key: same[key] is None for key in same}
            numbers = [{key: value for key, value in each.items() if value is not None} for each in (line, same)]
            assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)


def jittered() -> Examples:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (100, 4, 4), generator=generator, dtype=torch.uint8)
    return Examples(Images(pixels, jitter_pixels=1), pixels.reshape(100, -1)[:, 5] // 64)


PLAIN = named("network", "dnn", DnnSettings(0, 0, hidden_layers=1, hidden_units=8, dropout=0.3))


def in_images(folder: Path) -> list[Member]:
    return members_in(folder, PLAIN, [objective_of(HARD)] * 3, (4, 4))


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_jitter_and_limits_of_norms_are_those_of_each_network(tmp_path, optimiser) -> None:
    settings = replace(SETTINGS, optimiser=optimiser, checkpoint_seconds=1e9)
    limit = partial(limit_incoming_norms, max_norm=0.3)
    single, stacked = in_images(tmp_path / "alone"), in_images(tmp_path / "as_one")
    for member in single:
        alone(member, jittered(), settings, after_update=limit)
    fit_stacked(stacked, jittered(), settings, device=HOST, validate=None, after_update=limit)
    for one, other in zip(single, stacked, strict=True):
        assert_equal(one, other)
        norms = other.network.output.weight.detach().norm(dim=1)
        assert float(norms.max()) <= 0.3 * (1 + 1e-5)
        assert float((norms - 0.3).abs().min()) < 1e-5  # some unit is held


class Killed(Exception):
    pass


def kill_at(update: int):
    done = 0

    def advance(labels: float) -> None:
        nonlocal done
        done += 1
        if done == update + 1:
            raise Killed

    return advance


def test_killed_it_ends_with_the_same_bits(tmp_path, device: Device) -> None:
    whole, cut = in_images(tmp_path / "whole"), in_images(tmp_path / "cut")
    expected = fit_stacked(whole, jittered(), SETTINGS, device=device, validate=None)
    with pytest.raises(Killed):
        fit_stacked(cut, jittered(), SETTINGS, device=device, validate=None, advance=kill_at(8))
    torch.manual_seed(99)  # a new process has another random state
    again = in_images(tmp_path / "cut")
    found = fit_stacked(again, jittered(), SETTINGS, device=device, validate=None)
    for one, other, own, resumed in zip(whole, again, expected, found, strict=True):
        assert own.updates == resumed.updates
        state = other.network.state_dict()
        assert all(torch.equal(values, state[name]) for name, values in one.network.state_dict().items())
        assert (one.folder / HISTORY).read_text() == (other.folder / HISTORY).read_text()


def test_what_was_begun_as_one_goes_on_alone_and_the_other_way_round(tmp_path) -> None:
    whole, cut = in_images(tmp_path / "whole"), in_images(tmp_path / "cut")
    for member in whole:
        alone(member, jittered())
    with pytest.raises(Killed):
        fit_stacked(cut, jittered(), SETTINGS, device=HOST, validate=None, advance=kill_at(5))
    assert torch.load(cut[0].folder / CHECKPOINT, weights_only=True)["update"] == 4
    again = in_images(tmp_path / "cut")
    # The first goes on alone for two updates, so that it is ahead of the others; then all go on as one.
    with pytest.raises(Killed):
        alone(again[0], jittered(), advance=kill_at(3))
    assert torch.load(cut[0].folder / CHECKPOINT, weights_only=True)["update"] == 6
    last = in_images(tmp_path / "cut")
    fit_stacked(last, jittered(), SETTINGS, device=HOST, validate=None)
    for one, other in zip(whole, last, strict=True):
        assert_equal(one, other)


def test_a_checkpoint_is_no_larger_than_that_of_a_single_network(tmp_path) -> None:
    whole, stacked = in_images(tmp_path / "whole"), in_images(tmp_path / "as_one")
    validate = partial(measure, examples=jittered(), precision="fp32")
    alone(whole[0], jittered(), validate=validate)
    fit_stacked(stacked, jittered(), SETTINGS, device=HOST, validate=validate)
    sizes = [(members[0].folder / CHECKPOINT).stat().st_size for members in (whole, stacked)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)


def test_a_damaged_checkpoint_and_a_divergence_are_named(tmp_path, device: Device) -> None:
    members = in_images(tmp_path)
    wrong = replace(SETTINGS, learning_rate=1e30, warmup=0.0)
    with pytest.raises(UserError, match=r"networks/of-\d: training diverged at update"):
        fit_stacked(members, jittered(), wrong, device=device, validate=None)
    (members[1].folder / CHECKPOINT).write_bytes(b"PK\x03\x04 half a checkpoint")
    with pytest.raises(UserError, match=rf"of-1/{CHECKPOINT} is damaged: delete it"):
        fit_stacked(members, jittered(), SETTINGS, device=device, validate=None)


def test_where_the_examples_lie_with_the_networks_nothing_changes_but_who_gathers(tmp_path, monkeypatch) -> None:
    """The path of graphics cards, taken on the host; an epoch has updates enough to be killed in its midst."""
    examples, network = examples_for("dnn"), network_of("dnn")
    objectives = [objective_of(losses) for losses in OBJECTIVES]
    gathered, resident = (members_in(tmp_path / name, network, objectives) for name in ("gathered", "resident"))
    fit_stacked(gathered, examples, SETTINGS, device=HOST, validate=None)
    monkeypatch.setattr(Device, "can_hold", lambda self, value: True)
    with pytest.raises(Killed):
        fit_stacked(resident, examples, SETTINGS, device=HOST, validate=None, advance=kill_at(12))
    resident = members_in(tmp_path / "resident", network, objectives)
    fit_stacked(resident, examples, SETTINGS, device=HOST, validate=None)
    for one, other in zip(gathered, resident, strict=True):
        state = other.network.state_dict()
        assert all(torch.equal(values, state[name]) for name, values in one.network.state_dict().items())


def test_networks_learn_from_a_live_teacher_what_each_would_alone(tmp_path) -> None:
    """It is asked about the batches of all networks at once, and answers for each."""
    network = network_of("dnn")
    teacher = LiveTeacher([drawn(network, 11), drawn(network, 12)], precision="fp32")
    examples = replace(examples_for("dnn"), teacher=teacher)
    objectives = [objective_of(losses) for losses in (OBJECTIVES[1], OBJECTIVES[1], [weighted("kl")])]
    single, stacked = (members_in(tmp_path / name, network, objectives) for name in ("alone", "as_one"))
    settings = replace(SETTINGS, epochs=1, checkpoint_seconds=1e9)
    for member in single:
        alone(member, examples, settings)
    fit_stacked(stacked, examples, settings, device=HOST, validate=None)
    for one, other in zip(single, stacked, strict=True):
        assert_equal(one, other)
