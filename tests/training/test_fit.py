import json
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from kd_asr.device import HOST, device_of
from kd_asr.distillation.objectives import HARD, hinton_losses, objective_of
from kd_asr.distillation.signal import Signal, top_k_targets
from kd_asr.distillation.teachers.base import Teacher
from kd_asr.errors import UserError
from kd_asr.features.images import Images
from kd_asr.networks.dropout import ByteDropout
from kd_asr.training import examples as examples_module
from kd_asr.training.checkpoints import CHECKPOINT
from kd_asr.training.constraints import limit_incoming_norms
from kd_asr.training.examples import Examples, batches, batches_per_epoch, epoch_order
from kd_asr.training.fit import Validation, fit
from kd_asr.training.history import HISTORY
from kd_asr.training.schedule import learning_rate, measuring_points
from kd_asr.training.settings import TrainSettings

SETTINGS = TrainSettings(epochs=3, batch_frames=16, learning_rate=0.02, checkpoint_seconds=0.0, precision="fp32")


def problem() -> Examples:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (200,), generator=generator)
    inputs = torch.randn(200, 6, generator=generator) + 2 * torch.eye(4, 6)[labels]
    return Examples(inputs, labels)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))


def accuracy(model: nn.Module) -> Validation:
    examples = device_of(model).put(problem())
    with torch.no_grad():
        model.eval()  # deliberately left in this mode: the loop sets its own
        logits = model(examples.inputs)
    return Validation(float((logits.argmax(1) == examples.hard_labels).float().mean()), 0.0)


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def test_it_learns_and_writes_a_history(tmp_path, device) -> None:
    model = network()
    options = {"seed": 1, "device": device, "folder": tmp_path, "validate": accuracy}
    result = fit(model, problem(), objective_of(HARD), SETTINGS, **options)
    assert result.updates == 3 * 12
    assert result.best.accuracy > 0.8
    assert accuracy(model).accuracy == result.best.accuracy
    lines = [json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["dev_accuracy"] is not None] == [1, 2, 3]
    assert lines[-1]["train_loss"] == pytest.approx(lines[-1]["losses"]["hard"])
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]


def test_the_history_is_there_while_the_training_goes_on(tmp_path) -> None:
    """Complete lines up to the one that is being measured; after an interruption those of the checkpoint."""
    seen: list[list[dict[str, object]]] = []

    def validate(model: nn.Module) -> Validation:
        seen.append([json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()])
        if len(seen) == 2:
            raise KeyboardInterrupt
        return accuracy(model)

    options = {"seed": 1, "device": HOST, "folder": tmp_path, "validate": validate}
    with pytest.raises(KeyboardInterrupt):
        fit(network(), problem(), objective_of(HARD), SETTINGS, **options)
    fit(network(), problem(), objective_of(HARD), SETTINGS, **options)
    whole = [json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()]
    measured = [number for number, line in enumerate(whole) if line["dev_accuracy"] is not None]
    assert seen == [whole[: measured[number]] for number in (0, 1, 1, 2)]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_stochastic_gradient_descent_by_hand(tmp_path, device, decay: float) -> None:
    """One linear layer, one batch an epoch: Nesterov momentum and the L2 penalty, which leaves the bias alone."""
    torch.manual_seed(3)
    model = nn.Linear(6, 4)
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    examples = problem()
    settings = replace(SETTINGS, batch_frames=200, optimiser="sgd", warmup=0.0, weight_decay=decay)
    fit(model, examples, objective_of(HARD), settings, seed=1, device=device, folder=tmp_path, validate=None)
    velocities = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for update in range(3):
        rate = learning_rate(update, updates=3, peak=settings.learning_rate, warmup=0.0)
        error = (examples.inputs @ weight.T + bias).softmax(dim=1) - torch.eye(4)[examples.hard_labels]
        gradients = [error.T @ examples.inputs / 200 + decay * weight, error.mean(dim=0)]
        velocities = [0.9 * velocity + gradient for velocity, gradient in zip(velocities, gradients, strict=True)]
        weight = weight - rate * (gradients[0] + 0.9 * velocities[0])
        bias = bias - rate * (gradients[1] + 0.9 * velocities[1])
    assert torch.allclose(model.weight, weight, atol=1e-5)
    assert torch.allclose(model.bias, bias, atol=1e-5)


class Killed(Exception):
    pass


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("kill_at", [1, 7, 12, 13, 25, 36])
def test_killed_at_any_update_it_ends_with_the_same_bits(tmp_path, device, kill_at: int, optimiser) -> None:
    settings = replace(SETTINGS, optimiser=optimiser)
    cut = {"seed": 1, "device": device, "folder": tmp_path / "cut", "validate": accuracy}
    whole = network()
    (tmp_path / "whole").mkdir()
    expected = fit(whole, problem(), objective_of(HARD), settings, **{**cut, "folder": tmp_path / "whole"})

    done = 0

    def advance(examples: float) -> None:
        nonlocal done
        done += 1
        if done == kill_at + 1:
            raise Killed

    (tmp_path / "cut").mkdir()
    with pytest.raises(Killed):
        fit(network(), problem(), objective_of(HARD), settings, **cut, advance=advance)
    torch.manual_seed(99)  # a new process has another random state
    resumed = network()
    result = fit(resumed, problem(), objective_of(HARD), settings, **cut)
    assert (result.updates, result.best, result.best_epoch) == (expected.updates, expected.best, expected.best_epoch)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    assert (tmp_path / "whole" / HISTORY).read_text() == (tmp_path / "cut" / HISTORY).read_text()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a checkpoint"])
def test_a_damaged_checkpoint_is_named(tmp_path, device, content: bytes) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(UserError, match=rf"{CHECKPOINT} is damaged: delete it"):
        options = {"seed": 1, "device": device, "folder": tmp_path, "validate": accuracy}
        fit(network(), problem(), objective_of(HARD), SETTINGS, **options)


def started(folder: Path, device, *, seed: int = 1, model: nn.Module | None = None, **others) -> None:
    """Begin a training in a folder and stop it after an epoch."""

    def advance(labels: float) -> None:
        if (folder / CHECKPOINT).exists():
            raise Killed

    given = {"examples": problem(), "objective": objective_of(HARD), "settings": SETTINGS} | others
    with pytest.raises(Killed):
        fit(model or network(), **given, seed=seed, device=device, folder=folder, validate=accuracy, advance=advance)


def test_students_in_one_folder_are_students_of_their_own(tmp_path, device) -> None:
    """The folder is made; a checkpoint is gone with the result, so the next student begins anew."""
    found = []
    for seed in (1, 2, 1):
        model = network()
        fit(
            model, problem(), objective_of(HARD), SETTINGS,
            seed=seed, device=device, folder=tmp_path / "new" / "folder", validate=accuracy,
        )  # fmt: skip
        assert not (tmp_path / "new" / "folder" / CHECKPOINT).exists()
        found.append(weights(model))
    assert all(torch.equal(a, b) for a, b in zip(found[0], found[2], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(found[0], found[1], strict=True) if a.ndim > 1)


class Told(Teacher):
    """A teacher with an answer for every number."""

    def __init__(self, targets) -> None:
        self.targets = targets

    def read(self, numbers: torch.Tensor) -> Signal:
        return Signal(self.targets.select(numbers))


def teacher(temperature: float, shift: float = 0.0):
    targets = top_k_targets((problem().inputs[:, :4] + shift * torch.eye(4)[0]).log_softmax(dim=1), 3)
    objective = objective_of(hinton_losses(temperature=temperature, soft_weight=1.0, hard_weight=0.5))
    return {"examples": replace(problem(), teacher=Told(targets)), "objective": objective}


@pytest.mark.parametrize(
    ("what", "others"),
    [
        ("seed", {"seed": 2}),
        ("settings", {"settings": replace(SETTINGS, learning_rate=0.01)}),
        ("settings", {"settings": replace(SETTINGS, weight_decay=0.5)}),
        ("settings", {"settings": replace(SETTINGS, epochs=4)}),
        ("updates", {"updates": 40}),
        ("model", {"model": nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 4))}),
        ("model", {"model": nn.Sequential(*network()[:3], nn.Dropout(0.3), network()[4])}),
        ("objective", {"objective": teacher(5.0)["objective"]}),
        ("objective", {"objective": partial(objective_of(HARD).__call__)}),
        ("examples", {"examples": teacher(2.0, shift=0.1)["examples"]}),
        ("examples", {"examples": replace(problem(), hard_labels=(problem().hard_labels + 1) % 4)}),
        ("constraint", {"after_update": partial(limit_incoming_norms, max_norm=1.0)}),
        ("validation", {"validate_at": [5]}),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, device, what: str, others) -> None:
    """Whatever is changed is named; with nothing changed, the time between checkpoints included, it goes on."""
    started(tmp_path, device, **teacher(2.0))
    before = (tmp_path / CHECKPOINT).read_bytes()
    given = {"seed": 1, "settings": SETTINGS, **teacher(2.0), "model": network(), **others}
    sentence = rf"{CHECKPOINT} is of another training \(other [a-z, ]*{what}.*folder of its own"
    with pytest.raises(UserError, match=sentence):
        fit(**given, device=device, folder=tmp_path, validate=accuracy)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    settings = replace(SETTINGS, checkpoint_seconds=9.0)
    fit(network(), **teacher(2.0), settings=settings, seed=1, device=device, folder=tmp_path, validate=accuracy)


def jittered() -> Examples:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (100, 4, 4), generator=generator, dtype=torch.uint8)
    return Examples(Images(pixels, jitter_pixels=1), pixels.reshape(100, -1)[:, 5] // 64)


def test_without_dev_the_last_weights_are_kept_and_a_killed_training_ends_with_the_same_bits(tmp_path, device) -> None:
    """With jitter, byte dropout and max-norm: what they draw must go on where it was."""
    settings = TrainSettings(epochs=3, batch_frames=16, learning_rate=0.05, checkpoint_seconds=0.0, precision="fp32")

    def model() -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), ByteDropout(0.3), nn.Linear(8, 4))

    limit = partial(limit_incoming_norms, max_norm=1.0)
    common = {"seed": 1, "device": device, "validate": None, "after_update": limit}
    whole = model()
    (tmp_path / "whole").mkdir()
    result = fit(whole, jittered(), objective_of(HARD), settings, folder=tmp_path / "whole", **common)
    assert (result.updates, result.best, result.best_epoch) == (18, None, 3)
    assert float(whole[0].weight.detach().norm(dim=1).max()) == pytest.approx(1.0)
    (tmp_path / "cut").mkdir()
    done = 0

    def advance(examples: float) -> None:
        nonlocal done
        done += 1
        if done == 9:
            raise Killed

    with pytest.raises(Killed):
        fit(model(), jittered(), objective_of(HARD), settings, folder=tmp_path / "cut", advance=advance, **common)
    torch.manual_seed(99)
    resumed = model()
    fit(resumed, jittered(), objective_of(HARD), settings, folder=tmp_path / "cut", **common)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    lines = [json.loads(line) for line in (tmp_path / "cut" / HISTORY).read_text().splitlines()]
    assert all(line["dev_accuracy"] is None for line in lines)


def test_seeds_repeat_and_differ(tmp_path, device) -> None:
    results = []
    for number, seed in enumerate([1, 1, 2]):
        model = network()
        (tmp_path / str(number)).mkdir()
        options = {"seed": seed, "device": device, "folder": tmp_path / str(number), "validate": accuracy}
        fit(model, problem(), objective_of(HARD), SETTINGS, **options)
        results.append(weights(model))
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])


def test_the_best_epoch_on_dev_is_kept(tmp_path, device) -> None:
    scripted = iter([0.2, 0.9, 0.5])
    seen = []

    def validate(model: nn.Module) -> Validation:
        seen.append(HOST.put(weights(model)))
        return Validation(next(scripted), 1.0)

    model = network()
    options = {"seed": 1, "device": device, "folder": tmp_path, "validate": validate}
    result = fit(model, problem(), objective_of(HARD), SETTINGS, **options)
    assert (result.best_epoch, result.best.accuracy) == (2, 0.9)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), seen[1], strict=True))
    assert not torch.equal(weights(model)[0], seen[2][0])


def test_divergence_is_a_clear_error(tmp_path, device) -> None:
    examples = problem()
    broken = Examples(torch.full_like(examples.inputs, float("nan")), examples.hard_labels)
    with pytest.raises(UserError, match=r"lower train\.learning_rate"):
        fit(network(), broken, objective_of(HARD), SETTINGS, seed=1, device=device, folder=tmp_path, validate=accuracy)


def test_training_mode_is_on_during_updates(tmp_path, device) -> None:
    model, modes = network(), []
    model[3].register_forward_hook(lambda module, inputs, output: modes.append(module.training))
    fit(model, problem(), objective_of(HARD), SETTINGS, seed=1, device=device, folder=tmp_path, validate=accuracy)
    assert modes.count(True) == 36
    assert modes.count(False) == 3


@pytest.mark.parametrize("pool", [10_000, 700])
def test_epoch_order_is_a_permutation_that_changes_with_seed_and_epoch(pool: int) -> None:
    def whole(seed: int, epoch: int) -> torch.Tensor:
        return torch.cat(list(epoch_order(5003, seed=seed, epoch=epoch, pool=pool, run=50)))

    order = whole(1, 0)
    assert torch.equal(order.sort().values, torch.arange(5003))
    assert torch.equal(order, whole(1, 0))
    assert not torch.equal(order, whole(1, 1))
    assert not torch.equal(order, whole(2, 0))
    # Neighbours in the order are far apart in the data, with pools too.
    assert (order[1:] - order[:-1]).abs().float().median() > 500


def test_batches_are_full_and_can_begin_in_the_middle() -> None:
    examples = problem()
    all_of_them = list(batches(examples, batch_size=16, seed=1, epoch=0))
    later = list(batches(examples, batch_size=16, seed=1, epoch=0, skip=5))
    assert [len(batch.examples) for batch in all_of_them] == [16] * 12
    assert all(torch.equal(a.examples, b.examples) for a, b in zip(all_of_them[5:], later, strict=True))
    assert torch.equal(later[0].inputs, examples.inputs[later[0].examples])


class _Counting(Teacher):
    """A teacher that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def read(self, numbers: torch.Tensor) -> Signal:
        self.asked.append(len(numbers))
        log_probs = torch.stack([numbers.float(), -numbers.float(), numbers.float() / 7], dim=1).log_softmax(1)
        return Signal(top_k_targets(log_probs, 3))


def test_a_teacher_is_asked_about_many_batches_at_once_and_says_the_same() -> None:
    teacher = _Counting()
    examples = replace(problem(), teacher=teacher)
    numbers = torch.randperm(200, generator=torch.Generator().manual_seed(3))[:150]
    for taught in (examples, examples.select(numbers)):
        teacher.asked.clear()
        found = list(batches(taught, batch_size=8, seed=1, epoch=0, skip=1))
        count = len(taught) // 8 - 1
        assert len(found) == count
        assert teacher.asked == [128] * (count // 16) + [8 * (count % 16)]
        for batch in found:
            alone = taught.batch(batch.examples)
            assert torch.equal(batch.signal.targets.classes, alone.signal.targets.classes)
            assert torch.equal(batch.signal.targets.log_probs, alone.signal.targets.log_probs)
            assert torch.equal(batch.signal.targets.log_tail_mass, alone.signal.targets.log_tail_mass)
            assert torch.equal(batch.inputs, alone.inputs)


@pytest.mark.parametrize("batch_size", [7, 16, 60, 100, 300])
def test_batches_go_on_over_pools(monkeypatch: pytest.MonkeyPatch, batch_size: int) -> None:
    monkeypatch.setattr(examples_module, "epoch_order", partial(epoch_order, pool=60, run=10))
    examples = problem()
    order = torch.cat(list(epoch_order(200, seed=1, epoch=0, pool=60, run=10)))
    size = min(batch_size, 200)
    found = [batch.examples for batch in batches(examples, batch_size=batch_size, seed=1, epoch=0)]
    assert len(found) == batches_per_epoch(200, batch_size)
    assert torch.equal(torch.cat(found), order[: 200 // size * size])
    later = [batch.examples for batch in batches(examples, batch_size=batch_size, seed=1, epoch=0, skip=2)]
    assert [one.tolist() for one in later] == [one.tolist() for one in found[2:]]


def test_examples_must_match_their_labels() -> None:
    with pytest.raises(ValueError, match="200 inputs, but 199 labels"):
        Examples(problem().inputs, problem().hard_labels[:-1])


def test_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(update, updates=100, peak=1.0, warmup=0.1) for update in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[-1] < 1e-3


def test_a_budget_in_updates_with_validations_between_epochs(tmp_path, device) -> None:
    """17 updates of 12 an epoch, measured every 5: the last update is measured too, and resuming changes nothing."""

    def measured(model: nn.Module) -> Validation:
        return Validation(accuracy(model).accuracy, 0.0, train_accuracy=0.25)

    common = {"seed": 1, "device": device, "validate": measured, "updates": 17, "validate_at": (5, 10, 15)}
    whole = network()
    (tmp_path / "whole").mkdir()
    result = fit(whole, problem(), objective_of(HARD), SETTINGS, folder=tmp_path / "whole", **common)
    lines = [json.loads(line) for line in (tmp_path / "whole" / HISTORY).read_text().splitlines()]
    validated = [line for line in lines if line["dev_accuracy"] is not None]
    assert [line["update"] for line in validated] == [5, 10, 15, 17]
    assert {line["train_accuracy"] for line in validated} == {0.25}
    best = max(validated, key=lambda line: line["dev_accuracy"])
    assert (result.updates, result.best_epoch) == (17, pytest.approx(best["update"] / 12, abs=1e-3))
    assert accuracy(whole).accuracy == result.best.accuracy
    last = network()
    last.load_state_dict(result.last_weights)
    assert accuracy(last).accuracy == validated[-1]["dev_accuracy"]

    done = 0

    def advance(examples: float) -> None:
        nonlocal done
        done += 1
        if done == 14:
            raise Killed

    (tmp_path / "cut").mkdir()
    with pytest.raises(Killed):
        fit(network(), problem(), objective_of(HARD), SETTINGS, folder=tmp_path / "cut", advance=advance, **common)
    torch.manual_seed(99)
    resumed = network()
    again = fit(resumed, problem(), objective_of(HARD), SETTINGS, folder=tmp_path / "cut", **common)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    assert all(torch.equal(result.last_weights[name], again.last_weights[name]) for name in result.last_weights)


@pytest.mark.parametrize(("updates", "count"), [(5974, 20), (200, 5), (3, 20), (1, 1)])
def test_measuring_points_rise_to_the_end_and_begin_early(updates: int, count: int) -> None:
    points = measuring_points(updates, count)
    assert points == sorted(set(points))
    assert points[-1] == updates
    assert len(points) <= count
    assert points[0] <= max(1, -(-updates // 200)) or count == 1
    if updates > 1000:  # enough for the distances to be those of a geometric series
        ratios = [after / before for before, after in pairwise(points)]
        assert max(ratios) / min(ratios) < 1.05
