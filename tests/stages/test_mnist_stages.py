"""All experiments of the MNIST recipe on the bundled digits, with networks in miniature."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from every_setting import changed, leaves

from kd_asr.artifacts import load_artifact
from kd_asr.cli import main
from kd_asr.cli.mnist import MNIST_STAGES
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.errors import UserError
from kd_asr.evaluation.calibration import calibrate
from kd_asr.experiments.filters.compare import LAYERS
from kd_asr.experiments.filters.network import FilterCnn
from kd_asr.experiments.mnist.agreement import check_experiments
from kd_asr.experiments.mnist.networks import digit_log_posteriors, load_digit_network
from kd_asr.experiments.mnist.privileged import privileged_jobs
from kd_asr.experiments.mnist.reduced import reduced_jobs
from kd_asr.experiments.mnist.report import EXPERIMENTS, report
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.features.images import Images
from kd_asr.jobs.systems import NetworkRef
from kd_asr.networks.base import outputs_of
from kd_asr.networks.ensemble import Ensemble
from kd_asr.networks.inference import log_posteriors
from kd_asr.presets import find_preset
from kd_asr.settings.files import load_settings_of
from kd_asr.tasks.digits import DIGITS, DigitArrays

pytestmark = pytest.mark.early

TINY = find_preset("tiny", digits=True)
FLAGS = [
    *("--source", "digits", "--preset", str(TINY), "--temperature.widths=[8]", "--temperature.students=[1]"),
    *("--methods=[hinton, decoupled, {mutual: {networks: 2}}]", "--reduced.epochs=4"),
    *("--filters.epochs=0.5", "--filters.moments=3"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run of every experiment."""
    folder = tmp_path_factory.mktemp("mnist")
    assert main(["mnist", "configure", str(folder / "run"), "--data", str(folder), *FLAGS]) == 0
    for stage in MNIST_STAGES:
        assert main(["mnist", stage.name, str(folder / "run")]) == 0, stage.name
    return folder / "run"


def metrics(run: Path, name: str) -> dict:
    return load_artifact(run, name).metrics


def test_the_table_counts_what_the_networks_get_wrong(run) -> None:
    table, arrays = metrics(run, "table"), DigitArrays.load(run / "digits")
    names = ["networks/teacher-00", "networks/teacher-01"]
    models = [load_digit_network(run, NetworkRef(name)) for name in names]
    everything = torch.arange(len(arrays.test_labels))
    for model, errors in [
        (models[0], table["test_errors"]["teacher"][0]),
        (models[1], table["test_errors"]["teacher"][1]),
        (Ensemble(models, "arithmetic"), table["test_errors"]["ensemble"][0]),
    ]:
        log_probs = log_posteriors(model, Images(arrays.test_images), everything, precision="auto")
        assert int((log_probs.argmax(1) != arrays.test_labels).sum()) == errors
    wrong = np.load(run / "table" / "wrong.npy")
    assert wrong.sum(axis=1).tolist() == [errors for row in table["test_errors"].values() for errors in row]
    assert {name: len(row) for name, row in table["test_errors"].items()} == {
        "teacher": 2, "hard": 2, "distilled": 2, "decoupled": 2, "mutual-2": 2, "mutual-2-ensemble": 2, "ensemble": 1,
        "ensemble student": 1,
    }  # fmt: skip
    assert table["parameters"]["teacher"] == 2 * (64 * 64 + 2 * 64) + 64 * 10 + 10  # with batch normalisation
    assert table["parameters"]["ensemble"] == 2 * table["parameters"]["teacher"]


def test_a_comparison_has_the_tables_errors_and_measures_posteriors_as_well(run, capsys) -> None:
    assert main(["compare", str(run)]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines()[:-1])) <= 80
    content = json.loads((run / "comparison" / "comparison.json").read_text())
    rows, errors = {row["group"]: row for row in content["rows"]}, metrics(run, "table")["test_errors"]
    assert {group: row["measures"]["errors"]["values"] for group, row in rows.items()} == {
        group: pytest.approx(values) for group, values in errors.items()
    }
    arrays, settings = DigitArrays.load(run / "digits"), load_settings_of(MnistSettings, run, "mnist configure")
    [log_probs] = digit_log_posteriors(run, settings, [[NetworkRef("networks/hard-01")]], "test")
    labels = arrays.test_labels.long()
    expected = float(torch.nn.functional.nll_loss(torch.from_numpy(log_probs), labels))
    assert rows["hard"]["measures"]["cross_entropy"]["values"][1] == pytest.approx(expected, rel=1e-5)
    right = log_probs.argmax(axis=1) == labels.numpy()
    made = calibrate(np.exp(log_probs.max(axis=1)), right).error
    assert rows["hard"]["measures"]["calibration_error"]["values"][1] == pytest.approx(made)
    # 64 pixels, two hidden layers of 32: forward and backward, without a gradient of the pixels.
    once = 64 * 32 + 32 * 32 + 32 * 10
    images = metrics(run, "networks/hard-00")["updates"] * 32
    assert rows["hard"]["cost"]["multiply_adds"] == once
    assert rows["hard"]["cost"]["training"]["operations"] == 2 * images * (3 * once - 64 * 32)
    assert rows["mutual-2"]["cost"]["with_teachers"] == rows["mutual-2"]["cost"]["training"]
    taught, teacher = (rows[name]["cost"] for name in ("distilled", "teacher"))
    # The teacher of the same number, and its posteriors of all training images.
    more = teacher["training"]["operations"] + 2 * 1500 * teacher["multiply_adds"]
    assert taught["with_teachers"]["operations"] == pytest.approx(taught["training"]["operations"] + more)
    before = (run / "comparison" / "comparison.csv").read_bytes()
    assert main(["compare", str(run), "--against", "mutual-2"]) == 0
    assert (run / "comparison" / "comparison.csv").read_bytes() != before
    assert not list(run.glob(".comparison*"))


def test_what_cannot_be_compared_is_one_sentence(run, tmp_path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for arguments, message in (
        ([run, run], f"{run} is named twice: name each run once"),
        ([tmp_path], f"{tmp_path} is not a run folder (no settings.yaml): name the folder of a finished run"),
        ([run, "--out", tmp_path / "mine"], "mine holds something other than a comparison: choose another folder"),
        ([run, "--against", "decopled"], "--against decopled: no run has such a group; do you mean 'decoupled'?"),
    ):
        assert main(["compare", *map(str, arguments)]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_networks_that_were_trained_together_are_measured_and_saved_one_by_one(run) -> None:
    models = [load_digit_network(run, NetworkRef("networks/mutual-2-00", f"network-{number}")) for number in range(2)]
    weights = [torch.cat([one.flatten() for one in model.state_dict().values()]) for model in models]
    assert not torch.equal(*weights)
    arrays = DigitArrays.load(run / "digits")
    settings = load_settings_of(MnistSettings, run, "mnist configure")
    [log_probs] = digit_log_posteriors(run, settings, [[NetworkRef("networks/mutual-2-00", "network-0")]], "test")
    errors = int((torch.from_numpy(log_probs).argmax(1) != arrays.test_labels).sum())
    assert errors == metrics(run, "table")["test_errors"]["mutual-2"][0]
    together = Ensemble(models, "arithmetic")
    pixels = arrays.test_images.float().flatten(1) / 255
    with torch.no_grad():
        wrong = int((together(pixels).argmax(1) != arrays.test_labels).sum())
    assert wrong == metrics(run, "table")["test_errors"]["mutual-2-ensemble"][0]
    assert "mutual, 2 networks" in (run / "report" / "report.md").read_text()


def test_dev_is_apart_from_what_it_chooses_for(run) -> None:
    arrays = DigitArrays.load(run / "digits")
    assert len(arrays.dev) == 1500 * 5000 // 60_000
    assert sorted([*arrays.dev.tolist(), *arrays.train.tolist()]) == list(range(1500))
    assert metrics(run, "networks/choosing-teacher")["examples"] == 1500 - len(arrays.dev)
    assert metrics(run, "networks/teacher-00")["examples"] == 1500
    assert "dev_accuracy" not in metrics(run, "networks/teacher-00")
    settings = load_settings_of(MnistSettings, run, "mnist configure")
    [log_probs] = digit_log_posteriors(run, settings, [[NetworkRef("networks/choosing-teacher")]], "dev")
    wrong = int((log_probs.argmax(1) != arrays.train_labels[arrays.dev].numpy()).sum())
    # Of the last epochs the best on dev is kept, and its errors are those of the weights on disk.
    accuracy = metrics(run, "networks/choosing-teacher")["dev_accuracy"]
    assert round((1 - accuracy) * len(arrays.dev)) == wrong


def test_a_store_holds_the_averaged_posteriors_of_unjittered_images(run) -> None:
    arrays, store = DigitArrays.load(run / "digits"), PosteriorStore(run / "posteriors" / "ensemble")
    models = [load_digit_network(run, NetworkRef(f"networks/teacher-{number:02d}")) for number in range(2)]
    some = torch.tensor([7, 1499, 0])
    expected = log_posteriors(Ensemble(models, "arithmetic"), Images(arrays.train_images), some, precision="auto")
    assert torch.allclose(store.targets(some).dense_log_probs(1.0), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(("experiment", "unseen"), [("omit3", [3]), ("only78", [0, 1, 2, 3, 4, 5, 6, 9])])
def test_transfer_sets_lack_the_digits(run, experiment: str, unseen: list[int]) -> None:
    found, arrays = metrics(run, experiment), DigitArrays.load(run / "digits")
    present = ~np.isin(arrays.train_labels.numpy(), unseen)
    assert found["unseen"] == unseen
    assert found["transfer_images"] == int(present.sum())
    assert metrics(run, f"networks/{experiment}-choosing")["examples"] == int(present[arrays.train.numpy()].sum())
    assert len(found["students"]) == 2
    for student in found["students"]:
        # What is fitted on test itself can only be better there.
        assert student["corrected_on_test"]["errors"] <= student["corrected_on_dev"]["errors"]
        assert student["corrected_on_test"]["errors"] <= student["before"]["errors"]
    assert found["dev"]["corrected_on_dev"]["errors"] <= found["dev"]["before"]["errors"]


def test_students_of_equal_number_differ_in_temperature_alone(run) -> None:
    rows = metrics(run, "temperature")["rows"]
    assert [row["temperature"] for row in rows] == [1.0, 4.0, 20.0]
    seeds = {
        json.loads((run / f"networks/width-8-temperature-{t:g}-00" / "manifest.json").read_text())["settings"]["seed"]
        for t in (1, 4, 20)
    }
    assert len(seeds) == 1


def test_losses_with_the_same_gradient_end_alike(run) -> None:
    rows = {row["loss"]: row for row in metrics(run, "losses")["rows"]}
    same = rows["soft_cross_entropy"], rows["kl_teacher_to_student"]
    assert same[0]["dev_cross_entropy"] == pytest.approx(same[1]["dev_cross_entropy"], rel=1e-2)
    limit = [one["relative_difference"] for one in metrics(run, "losses")["limit"]]
    assert limit == sorted(limit, reverse=True)
    assert limit[-1] < 0.02


def test_reduced_networks_have_their_part_of_the_labels_and_equal_updates(run) -> None:
    arrays, settings = DigitArrays.load(run / "digits"), load_settings_of(MnistSettings, run, "mnist configure")
    planned = [one for one in reduced_jobs(settings) if one.arm == "hard"]
    parts = [one.job.data.labelled(len(arrays.train)) for one in planned]
    assert [one.fraction for one in planned] == [0.05, 1.0]
    assert len(parts[0]) == round(0.05 * len(arrays.train))
    assert set(parts[0].tolist()) < set(parts[1].tolist())
    names = sorted(path.parent.name for path in (run / "reduced_networks").glob("*/manifest.json"))
    arms = ("hard", "soft", "soft_and_hard", "soft_everywhere")
    expected = [f"{fraction}-{arm}-0" for fraction in (0.05, 1) for arm in arms]
    assert names == sorted(set(expected) - {"1-soft_everywhere-0"})  # which would be 1-soft_and_hard-0
    found = {name: metrics(run, f"reduced_networks/{name}") for name in names}
    assert {one["updates"] for one in found.values()} == {4 * (len(arrays.train) // 32)}
    assert found["0.05-soft-0"]["examples"] == len(parts[0])


def test_reduced_networks_are_measured_on_all_of_test_and_on_their_part(run) -> None:
    rows = metrics(run, "reduced")["rows"]
    correct = np.load(run / "reduced" / "correct.npy")
    arrays = DigitArrays.load(run / "digits")
    assert correct.shape == (len(rows), len(arrays.test_labels)) == (9, 297)
    by_kind = {(row["fraction"], row["kind"]): number for number, row in enumerate(rows)}
    best, last = by_kind[0.05, "hard_best"], by_kind[0.05, "hard_last"]
    assert rows[best]["dev"]["frame_accuracy"] >= rows[last]["dev"]["frame_accuracy"]
    content = json.loads((run / "report" / "report.json").read_text())["reduced"]
    system = next(one for one in content["systems"] if (one["fraction"], one["kind"]) == (0.05, "hard_last"))
    assert system["test_frame_accuracy"]["values"] == [correct[last].mean()]
    # All labels teach more than one in twenty of them.
    assert correct[by_kind[1.0, "hard_best"]].sum() > correct[best].sum()


def test_students_see_less_than_their_teacher_and_learn_its_answers_for_the_same_images(run) -> None:
    arrays, found = DigitArrays.load(run / "digits"), metrics(run, "privileged")
    wrong = np.load(run / "privileged" / "wrong.npy")
    assert (found["side"], found["low_side"], found["test"]) == (8, 4, 297)
    assert [row["errors"] for row in found["rows"]] == wrong.sum(axis=1).tolist()
    low = arrays.test_images.double().unfold(1, 2, 2).unfold(2, 2, 2).mean(dim=(3, 4)).round()
    for number, kind in [(0, "teacher"), (2, "privileged")]:
        assert (found["rows"][number]["kind"], found["rows"][number]["images"]) == (kind, 200)
        model = load_digit_network(run, NetworkRef(f"privileged_networks/200-{kind}-0"))
        seen = (arrays.test_images if kind == "teacher" else low).float().flatten(1) / 255
        with torch.no_grad():
            assert (model(seen).argmax(1) != arrays.test_labels).tolist() == wrong[number].tolist()
    settings = load_settings_of(MnistSettings, run, "mnist configure")
    teacher = load_digit_network(run, NetworkRef("privileged_networks/200-teacher-0"))
    [job] = [one.job for one in privileged_jobs(settings, 1500) if one.kind == "privileged" and one.repetition == 0]
    examples = job.data.open(run, job).examples
    assert len(examples) == metrics(run, job.name)["examples"] == 200
    batch = examples.batch(torch.tensor([7, 199]))
    numbers = job.data.labelled(1500)[[7, 199]]
    with torch.no_grad():
        expected = teacher(arrays.train_images[numbers].float().flatten(1) / 255).log_softmax(1)
    assert torch.allclose(batch.signal.targets.dense_log_probs(1.0), expected, atol=2e-2)
    assert batch.inputs.shape == (2, 16)
    rows = json.loads((run / "report" / "report.json").read_text())["privileged"]["systems"]
    assert [one["values"] for one in rows if one["kind"] == "plain"] == [
        [1 - wrong[number].mean() for number, row in enumerate(found["rows"]) if row["kind"] == "plain"]
    ]
    assert "## Privileged information" in (run / "report" / "report.md").read_text()


def test_the_report_says_that_it_is_not_mnist(run) -> None:
    page = (run / "report" / "report.md").read_text()
    content = json.loads((run / "report" / "report.json").read_text())
    assert page.startswith("# Distillation on NOT MNIST: scikit-learn's")
    assert "| 146 |" not in page  # the paper's figures are not set beside those of other digits
    for picture in (
        "table", "temperature", "omit3", "only78", "losses", "high_temperature", "reduced", "dark_knowledge",
    ):  # fmt: skip
        assert f"({picture}.png)" in page
        assert (run / "report" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    errors = content["table"]["systems"]["distilled"]["values"]
    assert content["table"]["systems"]["distilled"]["mean"] == sum(errors) / 2
    assert f"| {sum(errors) / 2:,.4g} |" in page


def test_done_again_nothing_is_trained(run, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("model.safetensors")}
    assert main(["mnist", "table", str(run)]) == 0
    assert "table: done before, unchanged" in " ".join(capsys.readouterr().err.split())
    assert {path: path.stat().st_mtime_ns for path in run.rglob("model.safetensors")} == before


def test_an_experiment_that_is_out_of_date_is_named_with_its_command(run, capsys) -> None:
    manifest = run / "networks" / "hard-00" / "manifest.json"
    text = manifest.read_text()
    changed = json.loads(text)
    changed["fingerprint"] = "0" * 16
    del changed["blake2b"]
    manifest.write_text(json.dumps(changed))
    try:
        assert main(["mnist", "report", str(run)]) == 2
        assert f"run `kd-asr mnist table {run}` again" in " ".join(capsys.readouterr().err.split()).replace("- ", "-")
    finally:
        manifest.write_text(text)


def test_a_report_needs_an_experiment(tmp_path, capsys) -> None:
    assert main(["mnist", "configure", str(tmp_path / "run"), "--data", str(tmp_path), *FLAGS]) == 0
    assert load_settings_of(MnistSettings, tmp_path / "run", "mnist configure").data.source == "digits"
    assert main(["mnist", "report", str(tmp_path / "run")]) == 2
    assert "holds no experiment: run `kd-asr mnist table" in " ".join(capsys.readouterr().err.split())


# What decides how work is shared and results are called, and where the digits are read.
NOT_SHOWN = ("preset", "jobs", "device", "batch_jobs", "executor", "data.root")


def test_every_setting_is_compared_with_what_was_made(run) -> None:
    """A report whose networks were trained with other settings is refused, whichever setting it is."""
    settings = load_settings_of(MnistSettings, run, "mnist configure")
    digits = load_artifact(run, DIGITS)
    experiments = [load_artifact(run, name) for name in EXPERIMENTS]
    check_experiments(run, settings, digits, experiments)
    accepted = []
    for path, _ in leaves(settings):
        name = ".".join(path)
        try:
            other = changed(settings, path)
            check_experiments(run, other, digits, experiments)
        except (UserError, ValueError):
            continue
        accepted.append(name)
    assert [name for name in accepted if not name.startswith(NOT_SHOWN)] == []
    assert "preset" in accepted


def test_a_setting_that_differs_is_named_with_its_remedy(run) -> None:
    settings = load_settings_of(MnistSettings, run, "mnist configure")
    other = replace(settings, losses=replace(settings.losses, temperature=7.5))
    with pytest.raises(UserError, match=r"temperature is 7\.5 in .*, but networks/loss.* run `kd-asr mnist losses"):
        report(run, other)
    more = replace(settings, seeds=settings.seeds + 1)
    with pytest.raises(UserError, match=r"was made without networks/.*ask for: run `kd-asr mnist table"):
        report(run, more)


@torch.no_grad()
def test_likenesses_are_those_of_the_networks(run) -> None:
    """A student's hidden layer and logits at the first and the last moment, beside both teachers, without Grams."""
    arrays = DigitArrays.load(run / "digits")
    numbers = torch.linspace(0, len(arrays.test_labels) - 1, 50).long()
    inputs = Images(arrays.test_images)[numbers]
    found = list(csv.DictReader((run / "filters" / "likenesses.csv").open()))
    assert len(found) == (2 * 2 * 2 * 3) * 6 + (2 * 2 * 2 + 2) + 2 * 6  # students, answers, teachers

    def network(kind: str, number: int) -> FilterCnn:
        model = load_digit_network(run, NetworkRef(f"filter_networks/{kind}-{number:02d}"))
        assert isinstance(model, FilterCnn)
        return model

    def features(model: FilterCnn) -> dict[str, np.ndarray]:
        outputs = outputs_of(model.eval(), inputs, model.taps)
        return dict(zip(LAYERS, [*(outputs.taps[name].numpy() for name in model.taps), outputs.logits], strict=True))

    def cka(first: np.ndarray, second: np.ndarray) -> float:
        x, y = (np.asarray(one, dtype=np.float64) - np.asarray(one).mean(axis=0) for one in (first, second))
        return float(np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y))

    student, teachers = network("distilled", 1), [network("teacher", number) for number in (0, 1)]
    updates = int(student.updates_seen)
    for moment, model in ((0, student.earlier(0)), (updates, student)):
        own = features(model)
        for number, teacher in enumerate(teachers):
            for layer, outputs in features(teacher).items():
                [row] = [
                    one for one in found if (one["kind"], one["number"], one["measure"]) == ("distilled", "1", layer)
                    and (int(one["teacher"]), int(one["updates"])) == (number, moment)
                ]  # fmt: skip
                assert float(row["value"]) == pytest.approx(cka(outputs, own[layer]), abs=2e-5)
    # Both students of a seed begin alike.
    kept = student.earlier(0).state_dict(), network("hard", 1).earlier(0).state_dict()
    weights = [name for name in kept[0] if name.endswith("weight") and not name.startswith("kept/")]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in weights)
    content = json.loads((run / "report" / "report.json").read_text())["filters"]
    models = [network("hard", number) for number in (0, 1)]
    right = [
        int((model.eval()(Images(arrays.test_images)[:]).argmax(1) == arrays.test_labels).sum()) for model in models
    ]
    assert content["accuracies"]["hard"] == pytest.approx([one / len(arrays.test_labels) for one in right])
    page = (run / "report" / "report.md").read_text()
    assert "## What a student inherits" in page
    for picture in ("filters", "filters_responses", "filters_training"):
        assert (run / "report" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert 'id="plot-filters-matched"' in (run / "report" / "index.html").read_text()
