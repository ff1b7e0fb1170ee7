"""Networks that keep their past, their trainings, and figures over seeds by hand."""

from __future__ import annotations

import copy
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from kd_asr.experiments.filters.network import FilterCnn, FilterCnnSettings
from kd_asr.experiments.filters.plan import filter_networks, moments_of
from kd_asr.experiments.filters.settings import FiltersSettings
from kd_asr.experiments.mnist.networks import digit_job
from kd_asr.experiments.mnist.settings import DigitNetworkSettings
from kd_asr.networks.base import outputs_of
from kd_asr.networks.files import load_network, save_network
from kd_asr.networks.stack import Stack
from kd_asr.reporting.filters_figures import filter_figures, sign_flip_p_value
from kd_asr.reporting.filters_page import answer, likeness_table
from kd_asr.reporting.filters_page import test_table as table_of_question

SHAPE, CLASSES = (6, 8), 3
SMALL = FilterCnnSettings(channels=2, hidden_units=5, kernel_height=3, kernel_width=5, dropout=0.0)


def _network(keep_at: tuple[int, ...]) -> FilterCnn:
    torch.manual_seed(1)
    settings = FilterCnnSettings(**{**vars(SMALL), "keep_at": keep_at})
    return FilterCnn(SHAPE, CLASSES, settings)


def _train(model: torch.nn.Module, updates: int) -> list[dict[str, torch.Tensor]]:
    """The states before each update and after the last."""
    generator = torch.Generator().manual_seed(2)
    states = []
    for _ in range(updates):
        states.append(copy.deepcopy(model.state_dict()))
        inputs = torch.randn(4, 48, generator=generator)
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(model(inputs).logsumexp(dim=1).sum(), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(0.1 * gradient)
            model.eval()(inputs)  # evaluation is no update
            model.train()
    return [*states, copy.deepcopy(model.state_dict())]


def test_weights_are_kept_as_they_were(tmp_path: Path) -> None:
    model, plain = _network((0, 2, 9)), _network(())
    states, without = _train(model, 4), _train(plain, 4)
    own = [name for name in without[0] if not name.startswith(("kept/", "keep_at", "updates_seen"))]
    # The training is that of the network without memory, bit for bit.
    assert all(torch.equal(states[-1][name], without[-1][name]) for name in own)
    save_network(tmp_path / "model.safetensors", model, {})
    loaded = load_network(tmp_path / "model.safetensors")
    assert isinstance(loaded, FilterCnn)
    for number, updates in ((0, 0), (1, 2)):
        earlier = loaded.earlier(number).state_dict()
        assert all(torch.equal(earlier[name], states[updates][name]) for name in own)
    with pytest.raises(ValueError, match="4 updates, none after 9 was kept"):
        loaded.earlier(2)


def test_a_stack_keeps_the_weights_of_each() -> None:
    models = [_network((0, 1)) for _ in range(2)]
    with torch.no_grad():
        models[1].output.weight.add_(1)
    before = [model.output.weight.clone() for model in models]
    stack = Stack(models)
    for _ in range(2):
        stack(torch.randn(2, 4, 48))
        with torch.no_grad():
            for parameter in stack.stacked.parameters():
                parameter.add_(1)
    for model, weight in zip(models, before, strict=True):
        assert torch.equal(model.earlier(0).output.weight, weight)
        assert torch.equal(model.earlier(1).output.weight, weight + 1)


def test_layers_and_filters() -> None:
    model = _network(()).eval()
    inputs = torch.randn(7, 48)
    outputs = outputs_of(model, inputs, model.taps)
    assert {name: tuple(one.shape) for name, one in outputs.taps.items()} == {
        name: (7, width) for name, width in model.taps.items()
    }
    assert list(model.taps.values()) == [2 * 6 * 4, 4 * 6 * 2, 5]
    assert model.filters.shape == (2, 3, 5)
    # Another sign of a filter and of its normalisation is the same function with the same filter.
    before, logits = model.filters.clone(), model(inputs)
    with torch.no_grad():
        model.convolutions[0].weight[0].neg_()
        model.convolutions[1].weight[0].neg_()
        model.convolutions[1].running_mean[0].neg_()
    assert torch.equal(model.filters, before)
    assert torch.allclose(model(inputs), logits)


def test_moments_double() -> None:
    assert moments_of(64, 5) == (0, 8, 16, 32, 64)
    assert moments_of(3, 8) == (0, 1, 2, 3)
    assert moments_of(10, 2) == (0, 10)


def test_students_of_a_seed_differ_in_their_targets_alone() -> None:
    def job_of(name, network, seed):
        recipe = DigitNetworkSettings(network=network)
        return digit_job(name, recipe, seed=seed)

    found = filter_networks(FiltersSettings(seeds=2), 1, job_of, 100)
    jobs = {one.job.name.removeprefix("filter_networks/"): one.job for one in found}
    assert list(jobs) == [f"{kind}-{number:02d}" for kind in ("teacher", "hard", "distilled") for number in (0, 1)]
    for number in ("00", "01"):
        hard, distilled, teacher = (jobs[f"{kind}-{number}"] for kind in ("hard", "distilled", "teacher"))
        assert (hard.seed, hard.networks, hard.data) == (distilled.seed, distilled.networks, distilled.data)
        assert (hard.budget, hard.epochs, hard.keep) == (distilled.budget, distilled.epochs, "last")
        assert hard.teacher is None
        assert distilled.teacher is not None
        assert distilled.teacher.artifacts == (teacher.name,)
        assert hard.networks["model"].settings.keep_at == (0, 2, 3, 6, 12, 25, 50)
    assert len({job.seed for job in jobs.values()}) == 4


def test_signs_against_every_pattern() -> None:
    values = [0.3, -0.1, 0.25, 0.4, 0.05]
    means = [np.mean(np.multiply(signs, values)) for signs in product((1, -1), repeat=5)]
    expected = np.mean([abs(one) >= abs(np.mean(values)) - 1e-12 for one in means])
    assert sign_flip_p_value(values) == pytest.approx(expected)
    assert sign_flip_p_value([0.1, 0.2, 0.1, 0.3, 0.1, 0.2]) == pytest.approx(2 / 64)
    with pytest.raises(ValueError, match="too many patterns"):
        sign_flip_p_value([1.0] * 15)


def _compared() -> dict:
    """Two seeds: distilled students 0.2 nearer to their own teacher than to the other, others 0.1 apart by chance."""
    rows = []

    def row(kind: str, number: int, teacher: int, updates: int, value: float) -> None:
        fields = {"kind": kind, "number": number, "teacher": teacher, "updates": updates}
        rows.append({**fields, "measure": "logits", "value": value})

    for number in (0, 1):
        row("teacher", number, 1 - number, 10, 0.4)
        for kind, own, other in (("hard", 0.5, 0.4), ("distilled", 0.8 + 0.1 * number, 0.6 + 0.1 * number)):
            for updates, less in ((0, 0.2), (10, 0.0)):
                row(kind, number, number, updates, own - less)
                row(kind, number, 1 - number, updates, other - less)
    kinds = {kind: [0.9, 0.8] for kind in ("teacher", "hard", "distilled")}
    return {"likenesses": rows, "layers": {}, "accuracies": kinds, "pictures": {}, "responses": {}}


def test_differences_over_seeds_by_hand() -> None:
    figures = filter_figures(_compared())
    assert figures["moments"] == [0, 10]
    assert figures["teachers"] == {"logits": pytest.approx(0.4)}
    assert figures["curves"]["logits"]["distilled"]["own"] == [
        [pytest.approx(0.6), pytest.approx(0.7)], [pytest.approx(0.8), pytest.approx(0.9)],
    ]  # fmt: skip
    found = {one["question"]: one for one in figures["comparisons"]}
    expected = {"own": [0.2, 0.2], "alone": [0.3, 0.4], "any": [0.2, 0.3], "inherited": [0.1, 0.1]}
    for question, values in expected.items():
        assert found[question]["values"] == pytest.approx(values)
        assert found[question]["mean"] == pytest.approx(np.mean(values))
        assert found[question]["p_value"] == 0.5
    # t of one degree of freedom at 0.975: 12.706.
    assert found["alone"]["interval"] == pytest.approx((0.35 - 12.706 * 0.05, 0.35 + 12.706 * 0.05), rel=1e-3)
    assert likeness_table(figures).rows == (("logits: CKA", "0.850", "0.650", "0.500", "0.400", "0.400"),)
    assert table_of_question(figures, "alone").rows == (("logits: CKA", "+0.350", "-0.285 to +0.985", "0.50"),)
    own, alone, inherited = answer(figures)
    assert own.endswith("than to the others in logits: CKA (+0.200, p = 0.50).")
    assert alone.endswith("is in nothing for certain.")
    assert inherited.endswith("logits: CKA (+0.100, p = 0.50).")
