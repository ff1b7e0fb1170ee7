"""Jobs that are alike are trained as one where that is wanted; their artifacts are those of jobs done alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import kd_asr.jobs.run as runner
from kd_asr.artifacts import load_artifact
from kd_asr.device import HOST, Device
from kd_asr.distillation.objectives import hinton_losses
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import digit_job
from kd_asr.experiments.mnist.settings import DigitDataSettings, DigitNetworkSettings, MnistSettings
from kd_asr.jobs.job import Job, TeacherSpec
from kd_asr.jobs.run import run
from kd_asr.jobs.stacks import stackable, stacks_of, trains_as_one
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.files import load_network
from kd_asr.registry import Named, named
from kd_asr.training.measure import measure

NETWORK = Named("network", "dnn", DnnSettings(0, 0, hidden_layers=1, hidden_units=12, dropout=0.2))
RECIPE = DigitNetworkSettings(NETWORK, jitter_pixels=1, epochs=2, batch_images=64)


@pytest.fixture
def laid_out(run_dir) -> Path:
    digits(run_dir, MnistSettings(data=DigitDataSettings(source="digits")))
    return run_dir


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def hard(number: int) -> Job:
    return digit_job(f"networks/hard-{number}", RECIPE, seed=number, images="all but dev")


def taught(number: int, temperature: float, hard_weight: float) -> Job:
    """A student."""
    losses = hinton_losses(temperature, 1.0, hard_weight)
    teacher = TeacherSpec(named("teacher", "stored"), ("store",))
    return digit_job(f"networks/soft-{number}", RECIPE, seed=number, losses=losses, teacher=teacher)


def test_jobs_that_differ_in_seed_and_losses_alone_are_alike() -> None:
    one = hard(1)
    assert stackable(one, replace(one, name="other", seed=7, losses=hinton_losses(1.0, 0.0, 1.0)[1:]))
    wider = Named("network", "dnn", DnnSettings(0, 0, hidden_layers=1, hidden_units=13))
    budget = replace(one.budget, epochs=9)
    others = [{"networks": {"model": wider}}, {"budget": budget}, {"data": replace(one.data, jitter_pixels=0)}]
    others += [{"keep": "last"}, {"max_norm": 2.0}, {"validations": 3}, {"epochs": 0.5}]
    for changed in others:
        assert not stackable(one, replace(one, **changed))
    two = replace(one, networks={"first": NETWORK, "second": NETWORK})
    assert not stackable(two, replace(two, seed=9))


def test_stacks_keep_the_order_and_are_dealt_evenly() -> None:
    jobs = [hard(1), taught(1, 2.0, 0.5), hard(2), hard(3), taught(2, 1.0, 0.0), hard(4)]
    names = [[job.name.removeprefix("networks/") for job in stack] for stack in stacks_of(jobs, 1)]
    assert names == [["hard-1", "hard-2", "hard-3", "hard-4"], ["soft-1", "soft-2"]]
    assert [len(stack) for stack in stacks_of(jobs, 3)] == [2, 1, 1, 1, 1]
    assert sorted(job.name for stack in stacks_of(jobs, 3) for job in stack) == sorted(job.name for job in jobs)


def test_they_are_trained_as_one_on_graphics_cards_or_where_asked_for() -> None:
    card = Device("cuda", 0)
    assert [trains_as_one(wanted, card) for wanted in ("auto", "always", "never")] == [True, True, False]
    assert [trains_as_one(wanted, HOST) for wanted in ("auto", "always", "never")] == [False, True, False]


def test_artifacts_of_a_stack_are_those_of_jobs_done_alone(laid_out, tmp_path, capsys) -> None:
    jobs = [replace(hard(number), keep="both") for number in (1, 2)]
    alone = tmp_path / "alone"
    shutil.copytree(laid_out, alone)
    options = {"processes": 1, "device": HOST, "description": "some", "batch_jobs": "always"}
    for job, stacked in zip(jobs, run(jobs, laid_out, **options), strict=True):
        runner._train(runner._Task((job,), alone, HOST))
        single = load_artifact(alone, job.name)
        assert single.fingerprint == stacked.fingerprint
        assert set(single.files) == set(stacked.files)
        for name in ("model.safetensors", "model-last.safetensors"):
            weights = [load_network(artifact.path / name).state_dict() for artifact in (single, stacked)]
            for key, values in weights[0].items():
                assert torch.allclose(values, weights[1][key], rtol=1e-2, atol=1e-3), (job.name, name, key)
        assert stacked.metrics.pop("trained_together") == len(jobs)
        assert set(stacked.metrics) == set(single.metrics)
        assert stacked.metrics["updates"] == single.metrics["updates"]
    capsys.readouterr()
    run(jobs, laid_out, processes=1, device=HOST, description="some")
    assert capsys.readouterr().err.count("done before, unchanged") == 2


def test_a_stack_that_was_interrupted_ends_with_the_same_bits(laid_out, monkeypatch, capsys, device) -> None:
    jobs = (hard(1), hard(2))
    task = runner._Task(jobs, laid_out, device)
    runner._train(task)

    def files() -> dict[str, bytes]:
        paths = [path for job in jobs for path in (laid_out / job.name).iterdir() if path.name != "manifest.json"]
        return {str(path.relative_to(laid_out)): path.read_bytes() for path in paths}

    whole = files()
    assert len(whole) == 4
    (laid_out / "networks").rename(laid_out / "whole")
    calls = []

    def stop(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "measure", stop)
        with pytest.raises(KeyboardInterrupt):
            runner._train(task)
    assert not any((laid_out / job.name).exists() for job in jobs)
    capsys.readouterr()
    runner._train(task)
    assert capsys.readouterr().err.count("going on from where it was interrupted") == 2
    assert files() == whole
    assert not list(laid_out.rglob("checkpoint.pt"))


def test_a_stack_too_large_for_a_card_is_made_in_halves(laid_out, monkeypatch, capsys) -> None:
    """A card's error, raised here by the step of more than two networks."""
    original, sizes = runner.fit_stacked, []

    def small(members, *arguments, **options):
        sizes.append(len(members))
        if len(members) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(members, *arguments, **options)

    monkeypatch.setattr(runner, "fit_stacked", small)
    jobs = tuple(hard(number) for number in range(4))
    runner._train(runner._Task(jobs, laid_out, HOST))
    assert sizes == [4, 2, 2]
    assert all((laid_out / job.name / "manifest.json").exists() for job in jobs)
    assert "too little memory for 4 networks as one" in capsys.readouterr().err
