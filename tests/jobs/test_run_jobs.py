"""Jobs are done once, go on from where they were interrupted, and do what `fit` by hand does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import kd_asr.jobs.run as runner
from kd_asr.distillation.objectives import HARD, objective_of
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import digit_job
from kd_asr.experiments.mnist.settings import DigitDataSettings, DigitNetworkSettings, MnistSettings
from kd_asr.features.images import Images
from kd_asr.jobs.job import Job
from kd_asr.jobs.run import run
from kd_asr.networks.base import seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.files import load_network
from kd_asr.registry import Named
from kd_asr.tasks.digits import DIGITS, DigitArrays
from kd_asr.training.examples import Examples
from kd_asr.training.fit import fit
from kd_asr.training.measure import measure

NETWORK = Named("network", "dnn", DnnSettings(0, 0, hidden_layers=1, hidden_units=12, dropout=0.2))
RECIPE = DigitNetworkSettings(NETWORK, jitter_pixels=1, epochs=3, batch_images=64)


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


def job() -> Job:
    return digit_job("networks/one", RECIPE, seed=3, images="all but dev")


def test_a_job_does_what_fit_by_hand_does_and_is_done_once(laid_out, tmp_path, capsys) -> None:
    [artifact] = run([job()], laid_out, processes=1, description="one", unit="images")
    arrays = DigitArrays.load(laid_out / DIGITS)
    images = Images(arrays.train_images[arrays.rest], jitter_pixels=1)
    examples = Examples(images, arrays.train_labels[arrays.rest])
    dev = Examples(Images(arrays.train_images[arrays.dev]), arrays.train_labels[arrays.dev])
    model = seeded(NETWORK, (8, 8), 10, 3)
    folder = tmp_path / "by_hand"
    folder.mkdir()
    result = fit(
        model,
        examples,
        objective_of(HARD),
        RECIPE.budget(),
        seed=3,
        folder=folder,
        validate=lambda one: measure(one, dev, precision="auto"),
    )
    trained = load_network(artifact.path / "model.safetensors").state_dict()
    assert all(torch.equal(trained[name], values) for name, values in model.state_dict().items())
    assert (artifact.path / "history.jsonl").read_bytes() == (folder / "history.jsonl").read_bytes()
    assert result.best is not None
    assert artifact.metrics["dev_accuracy"] == result.best.accuracy
    assert artifact.metrics["dev_cross_entropy"] == result.best.cross_entropy
    assert (artifact.metrics["updates"], artifact.metrics["examples"]) == (result.updates, len(examples))
    assert artifact.metrics["best_epoch"] == result.best_epoch
    assert artifact.metrics["bytes"] == (artifact.path / "model.safetensors").stat().st_size
    assert not (artifact.path / "checkpoint.pt").exists()

    capsys.readouterr()
    assert run([job()], laid_out, processes=1, description="one") == [artifact]
    assert "networks/one: done before, unchanged" in capsys.readouterr().err


def test_a_job_that_was_interrupted_ends_with_the_same_bits(laid_out, monkeypatch, capsys) -> None:
    both = replace(job(), keep="both")
    task = runner._Task(both, laid_out)
    runner._train(task)
    path = laid_out / both.name
    whole = {file.name: file.read_bytes() for file in path.iterdir() if file.name != "manifest.json"}
    assert set(whole) == {"model.safetensors", "model-last.safetensors", "history.jsonl"}
    path.rename(laid_out / "whole")

    calls = []

    def stop(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "measure", stop)
        with pytest.raises(KeyboardInterrupt):
            runner._train(task)
    assert not path.exists()
    capsys.readouterr()
    runner._train(task)
    assert "going on from where it was interrupted" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in path.iterdir() if file.name != "manifest.json"} == whole


def test_a_job_has_one_network() -> None:
    with pytest.raises(ValueError, match="2 networks instead of one"):
        replace(job(), networks={"one": NETWORK, "two": NETWORK})
