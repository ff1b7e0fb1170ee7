"""Jobs are done once, go on from where they were interrupted, and do what `fit` by hand does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import kd_asr.jobs.run as runner
from kd_asr.distillation.losses.hint import HintSettings
from kd_asr.distillation.objectives import HARD, objective_of, weighted
from kd_asr.errors import UserError
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import digit_job
from kd_asr.experiments.mnist.settings import DigitDataSettings, DigitNetworkSettings, MnistSettings
from kd_asr.features.images import Images
from kd_asr.jobs.job import Job, network_seed, teacher_spec
from kd_asr.jobs.run import run
from kd_asr.jobs.taps import check_taps
from kd_asr.networks.base import seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.files import load_network
from kd_asr.registry import Named, named
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


def test_a_job_does_what_fit_by_hand_does_and_is_done_once(laid_out, tmp_path, capsys, device) -> None:
    [artifact] = run([job()], laid_out, processes=1, device=device, description="one", unit="images")
    arrays = DigitArrays.load(laid_out / DIGITS)
    images = Images(arrays.train_images[arrays.train], jitter_pixels=1)
    examples = Examples(images, arrays.train_labels[arrays.train])
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
        device=device,
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
    assert artifact.metrics["device"] == device.label
    assert not (artifact.path / "checkpoint.pt").exists()

    capsys.readouterr()
    assert run([job()], laid_out, processes=1, device=device, description="one") == [artifact]
    assert "networks/one: done before, unchanged" in capsys.readouterr().err


def test_adapters_are_trained_beside_the_network_and_not_saved(laid_out, device) -> None:
    """Hints alone (Romero and others 2015): the student's middle layer comes to say what the teacher's does."""
    [teacher] = run([job()], laid_out, processes=1, device=device, description="one", unit="images")
    hint = (weighted("hint", HintSettings(student_tap="hidden.2", teacher_tap="middle")),)
    spec = teacher_spec(named("teacher", "live"), store="", networks=[teacher.name], average="arithmetic")
    student = replace(job(), name="networks/hinted", losses=hint, teacher=spec, keep="both", seed=4)
    [made] = run([student], laid_out, processes=1, device=device, description="two", unit="images")
    saved = load_file(made.path / "model.safetensors")
    assert saved.keys() == load_file(teacher.path / "model.safetensors").keys() == load_file(
        made.path / "model-last.safetensors"
    ).keys()
    untrained = seeded(NETWORK, (8, 8), 10, 4).state_dict()
    assert torch.equal(saved["output.weight"], untrained["output.weight"])  # hints do not reach the output layer
    assert not torch.equal(saved["hidden.0.weight"], untrained["hidden.0.weight"])
    history = [json.loads(line) for line in (made.path / "history.jsonl").read_text().splitlines()]
    assert history[-1]["losses"]["hint"] < 0.85 * history[0]["losses"]["hint"]


@pytest.mark.parametrize(("tap", "who"), [("student_tap", "student"), ("teacher_tap", "teacher")])
def test_a_middle_layer_that_there_is_not_is_refused_before_any_work(tap: str, who: str) -> None:
    spec = teacher_spec(named("teacher", "live"), store="", networks=["any"], average="arithmetic")
    wrong = replace(job(), losses=(weighted("hint", HintSettings(**{tap: "hidden.9"})),), teacher=spec)
    with pytest.raises(UserError, match=rf"the {who}'s network dnn has no middle layer 'hidden.9': choose one of hid"):
        check_taps([wrong], teacher=NETWORK, shape_of=lambda network: (8, 8))
    fitting = replace(wrong, losses=(weighted("hint"),))
    check_taps([fitting], teacher=NETWORK, shape_of=lambda network: (8, 8))
    with pytest.raises(UserError, match="hint needs a network that is trained alone"):
        replace(fitting, networks={"one": NETWORK, "two": NETWORK})


def test_a_job_that_was_interrupted_ends_with_the_same_bits(laid_out, monkeypatch, capsys, device) -> None:
    both = replace(job(), keep="both")
    task = runner._Task((both,), laid_out, device)
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


TOGETHER = (*HARD, weighted("peers"))


def of_two(losses=TOGETHER) -> Job:
    return replace(job(), name="networks/two", networks={"first": NETWORK, "second": NETWORK}, losses=losses)


def test_networks_of_a_job_are_trained_together_and_saved_by_their_names(laid_out, device) -> None:
    [artifact] = run([of_two()], laid_out, processes=1, device=device, description="two")
    arrays = DigitArrays.load(laid_out / DIGITS)
    dev = Examples(Images(arrays.train_images[arrays.dev]), arrays.train_labels[arrays.dev])
    networks = [load_network(artifact.path / f"{name}.safetensors") for name in ("first", "second")]
    measured = [measure(device.put(network), dev, precision="auto") for network in networks]
    assert measured[0] != measured[1]  # seeds of their own
    assert artifact.metrics["dev_accuracy"] == pytest.approx((measured[0].accuracy + measured[1].accuracy) / 2)
    history = [json.loads(line) for line in (artifact.path / "history.jsonl").read_text().splitlines()]
    assert set(history[-1]["losses"]) == {"hard", "peers"}
    assert history[-1]["losses"]["hard"] < history[0]["losses"]["hard"]


def test_networks_that_learn_nothing_from_each_other_are_trained_as_alone(laid_out, device) -> None:
    """Without dropout and jitter, whose draws they would share, and by their last weights."""
    plain = Named("network", "dnn", DnnSettings(0, 0, hidden_layers=1, hidden_units=12, dropout=0.0))
    data = replace(job().data, jitter_pixels=0)
    two = replace(of_two(HARD), networks={"first": plain, "second": plain}, data=data, keep="last")
    [together] = run([two], laid_out, processes=1, device=device, description="two")
    for name in two.networks:
        seed = network_seed(two.seed, name)
        alone = replace(two, name=f"networks/{name}", networks={"model": plain}, seed=seed)
        # The order of the images is that of the job's seed.
        model = seeded(plain, (8, 8), 10, seed)
        material = data.open(laid_out, alone)
        folder = laid_out / f"by_hand_{name}"
        folder.mkdir()
        with_seed = {"seed": two.seed, "device": device, "folder": folder}
        fit(model, material.examples, objective_of(HARD), two.budget, **with_seed, validate=None)
        saved = load_network(together.path / f"{name}.safetensors").state_dict()
        for key, values in model.state_dict().items():
            assert torch.allclose(saved[key], values, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_trained_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="the loss 'peers' needs members, but its teacher gives labels"):
        replace(of_two(), networks={"model": NETWORK})
    other = Named("network", "dnn", DnnSettings(3, 0))
    with pytest.raises(UserError, match="must see the data in one way"):
        replace(of_two(), networks={"first": NETWORK, "second": other})


def test_a_job_begins_with_the_weights_of_another_and_waits_for_them(laid_out, device) -> None:
    """Of two jobs in the wrong order the second comes first; without a learning rate nothing is changed."""
    still = replace(job().budget, learning_rate=1e-12, weight_decay=0.0)
    second = replace(job(), name="networks/second", seed=9, start_from="networks/first", keep="last", budget=still)
    first = replace(job(), name="networks/first", keep="last")
    made, before = run([second, first], laid_out, processes=1, device=device, description="two", unit="images")
    begun, ended = (load_file(one.path / "model.safetensors") for one in (before, made))
    assert ended.keys() == begun.keys()
    weights = [name for name in begun if name.endswith(("weight", "bias"))]
    assert all(torch.allclose(ended[name], begun[name], atol=1e-6) for name in weights)
    assert not torch.allclose(ended["output.weight"], seeded(NETWORK, (8, 8), 10, 9).state_dict()["output.weight"])
    assert "networks/first" in made.inputs


def test_weights_of_losses_change_linearly_over_a_training(laid_out, device) -> None:
    """The objective of every update is a weighted mean of the losses that history has, by weights worked out here."""
    losses = (*HARD, weighted("peers", weight=4.0))
    changing = replace(of_two(losses), last_weights=(1.0, 1.0), epochs=1.0)
    [made] = run([changing], laid_out, processes=1, device=device, description="two", unit="images")
    history = [json.loads(line) for line in (made.path / "history.jsonl").read_text().splitlines()]
    updates = history[-1]["update"]
    before = 0
    for line in history:
        # Of the updates that a line has the mean of, weights are nearly the same.
        middle = ((before + line["update"]) / 2 - 0.5) / (updates - 1)
        before = line["update"]
        peers = 4.0 + middle * (1.0 - 4.0)
        expected = 2 * (line["losses"]["hard"] + peers * line["losses"]["peers"]) / (1.0 + peers)
        assert line["train_loss"] == pytest.approx(expected, rel=2e-3)
    assert history[0]["train_loss"] != pytest.approx(
        2 * (history[0]["losses"]["hard"] + history[0]["losses"]["peers"]) / 2, rel=2e-2
    )
    with pytest.raises(UserError, match="networks/two: give one last weight for each of hard, peers"):
        replace(changing, last_weights=(1.0,))
