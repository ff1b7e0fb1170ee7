"""Specialists: a generalist's weights to begin with, batches of which half are their classes, and one posterior."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from digit_students import SETTINGS, asked, network_of, plan_of, trained

from kd_asr.errors import UserError
from kd_asr.experiments.mnist.networks import digit_log_posteriors
from kd_asr.jobs.begin import new_networks
from kd_asr.methods.specialists import SpecialistsMethodSettings
from kd_asr.networks.base import seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.ensemble import combined_log_posteriors
from kd_asr.networks.files import save_network
from kd_asr.networks.specialist import Specialist, SpecialistSettings
from kd_asr.recognition.export import _convert
from kd_asr.registry import named
from kd_asr.tasks.special import with_special
from kd_asr.training.examples import Examples, batches

PLAIN = DnnSettings(
    left_context=0, right_context=0, hidden_layers=1, hidden_units=4, dropout=0.0, batch_normalisation=False
)
BODY = named("network", "dnn", PLAIN)


def specialist_for(classes: list[int], oversampling: float = 1.0) -> Specialist:
    model = seeded(named("network", "specialist", SpecialistSettings(BODY)), (1, 3), 5, 1)
    assert isinstance(model, Specialist)
    model.special.copy_(torch.isin(torch.arange(5), torch.tensor(classes)))
    model.log_oversampling.copy_(torch.tensor(oversampling).log())
    return model


def test_the_dustbin_begins_with_what_the_generalist_gives_its_classes() -> None:
    model, inputs = specialist_for([1, 3]).eval(), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    general, found = model.body(inputs).softmax(1), model(inputs).softmax(1)
    assert torch.allclose(found[:, [1, 3]], general[:, [1, 3]])
    expected = general[:, [0, 2, 4]].sum(1, keepdim=True) / 3
    assert torch.allclose(found[:, [0, 2, 4]], expected.expand(4, 3))


def test_in_training_the_dustbin_is_as_rare_as_the_batches_make_it() -> None:
    """Bayes: where own classes are met r times as often, the odds against the dustbin are r times as large."""
    model, inputs = specialist_for([1, 3], oversampling=8.0), torch.randn(4, 3)
    calibrated, biased = model.eval()(inputs).softmax(1), model.train()(inputs).softmax(1)
    own = calibrated[:, [1, 3]].sum(1)
    assert torch.allclose(biased[:, [1, 3]].sum(1), 8 * own / (8 * own + 1 - own))


def test_half_of_every_batch_are_special_classes() -> None:
    labels = torch.tensor([0, 1, 2, 2, 2, 2, 2, 2, 2, 2] * 4)
    examples = Examples(labels[:, None].float(), labels)
    special = with_special(examples, torch.tensor([True, True, False]))
    assert special.inputs.oversampling == pytest.approx(4.0)
    for batch in batches(special, batch_size=8, seed=1, epoch=0):
        assert torch.equal(batch.inputs[:, 0].long(), batch.hard_labels)
        assert int((batch.hard_labels < 2).sum()) == 4
    nothing = with_special(examples, torch.tensor([False, False, False]))
    assert (nothing.mixture, nothing.inputs.oversampling) == (None, 1.0)


def test_on_digits_specialists_begin_as_their_generalist_and_all_of_them_teach_the_student(run_dir) -> None:
    plan = plan_of("specialists", SpecialistsMethodSettings(specialists=3, share=0.5))
    specialists, student = plan.jobs[1:4], plan.jobs[-1]
    trained(run_dir, plan)
    models = [network_of(run_dir, job.name) for job in plan.jobs[:-1]]
    own = torch.stack([model.special for model in models[1:]])
    assert torch.equal(own.sum(0), torch.ones(10, dtype=torch.int64))  # every digit has one specialist
    [first] = new_networks(specialists[0], specialists[0].data.open(run_dir, specialists[0]), run_dir).values()
    assert torch.equal(first.body.output.weight, models[0].output.weight)
    assert not torch.equal(models[1].body.output.weight, models[0].output.weight)
    numbers = torch.tensor([3, 700, 12])
    batch, signal = asked(run_dir, student, numbers)
    log_posteriors = [model(batch.inputs).log_softmax(1) for model in models]
    expected = combined_log_posteriors(models, log_posteriors, "arithmetic")
    assert torch.allclose(signal.targets.dense_log_probs(1.0), expected, atol=1e-5)
    committee = next(system for system in plan.systems if system.group == "generalist-and-specialists")
    [on_test] = digit_log_posteriors(run_dir, SETTINGS, [committee.members], "test")
    assert np.allclose(np.exp(on_test).sum(1), 1.0, atol=1e-5)


def test_more_specialists_than_classes_are_refused(run_dir) -> None:
    plan = plan_of("specialists", SpecialistsMethodSettings(specialists=11))
    short = replace(plan, jobs=plan.jobs[:2])
    with pytest.raises(UserError, match="specialist-0-00: 10 classes are too few for 11 specialists"):
        trained(run_dir, short)


def test_specialists_are_not_written_for_engines_that_cannot_put_them_together(tmp_path) -> None:
    save_network(tmp_path / "model.safetensors", specialist_for([1, 3]), {})
    with pytest.raises(UserError, match="a generalist with its specialists is put together by torch alone"):
        _convert(tmp_path / "model.safetensors", run_dir=tmp_path, formats=["onnx"], int8="static")
    assert _convert(tmp_path / "model.safetensors", run_dir=tmp_path, formats=["torch"], int8="static") == {}
