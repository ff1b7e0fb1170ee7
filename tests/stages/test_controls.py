"""What students gain from: long baselines, smaller students, shares of unlabelled audio; the choice of the sweep."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_prepared
from made_up_labels import make_aligned

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import Artifact, load_artifact
from kd_asr.cli import stages as commands
from kd_asr.errors import UserError
from kd_asr.features.store import FrameStore
from kd_asr.networks.inference import log_posteriors_of_batch
from kd_asr.stages.baseline import baseline
from kd_asr.stages.controls import control_jobs, long_baselines, share_jobs, smaller_students
from kd_asr.stages.distil import distil
from kd_asr.stages.ensemble import ensemble
from kd_asr.stages.evaluate import evaluate
from kd_asr.stages.features import features
from kd_asr.stages.plan import SweepPoint, baseline_jobs, student_jobs, sweep_axes, sweep_points
from kd_asr.stages.posteriors import posteriors
from kd_asr.stages.settings import Settings, parse_settings
from kd_asr.stages.sweep import at_edge, best_of, decided, sweep, widened
from kd_asr.stages.systems import load_networks, run_systems
from kd_asr.stages.transfer import transfer


def with_distil(settings: Settings, **values: object) -> Settings:
    return replace(settings, distil=replace(settings.distil, **values))


def test_students_with_the_usual_budget_have_no_second_baseline() -> None:
    for settings in (Settings(), with_distil(Settings(), epochs=Settings().train.epochs)):
        assert long_baselines(settings) is None
        assert [group.name for group in run_systems(settings).groups] == ["baseline", "ensemble", "distilled"]
        assert not control_jobs(settings)


def test_students_with_a_budget_of_their_own_are_compared_with_baselines_that_have_it() -> None:
    settings = with_distil(Settings(), epochs=12)
    [student, *_], [usual, *_] = student_jobs(settings), baseline_jobs(settings)
    long = long_baselines(settings)
    assert long is not None
    assert student.budget == long.jobs[0].budget == replace(usual.budget, epochs=12) != usual.budget
    assert len(long.jobs) == settings.baseline.networks
    assert all(job.teacher is None for job in long.jobs)
    assert len({job.seed for job in (*long.jobs, *baseline_jobs(settings))}) == 6
    systems = run_systems(settings)
    pairs = [(first.name, second.name) for first, second in systems.comparisons]
    assert ("distilled", "baseline-long") in pairs
    assert ("distilled", "baseline") in pairs
    assert "students a budget of their own" in systems.group("baseline").about
    # Methods without a teacher have the students' budget, too.
    mutual = parse_settings(["--distil.epochs=12", "--methods=[mutual]"])
    assert {job.budget.epochs for job in student_jobs(mutual)} == {12}


def test_each_smaller_size_has_students_and_baselines_of_that_size() -> None:
    settings = with_distil(Settings(), sizes=(1.0, 0.5, 0.25), epochs=12)
    found = smaller_students(settings)
    assert [one.twins.size for one in found] == [0.5, 0.25]
    for one in found:
        size = one.twins.size
        assert {job.size for job in (*one.plan.jobs, *one.twins.jobs)} == {size}
        assert {job.budget.epochs for job in (*one.plan.jobs, *one.twins.jobs)} == {12}
        assert [job.losses for job in one.plan.jobs] == [job.losses for job in student_jobs(settings)]
    systems = run_systems(settings)
    assert [group.name for group in systems.groups] == [
        "baseline", "baseline-long", "ensemble", "distilled",
        "baseline-0.5", "distilled-0.5", "baseline-0.25", "distilled-0.25",
    ]  # fmt: skip
    pairs = {(first.name, second.name) for first, second in systems.comparisons}
    assert {("distilled-0.25", name) for name in ("baseline", "ensemble", "baseline-0.25")} <= pairs
    with pytest.raises(UserError, match=r"distil\.sizes: .*twice"):
        parse_settings(["--distil.sizes=[0.5, 0.5]"])


def test_shares_of_unlabelled_audio_differ_from_the_students_in_that_alone(tmp_path) -> None:
    settings = with_distil(Settings(), unlabelled_fractions=(1.0, 0.0, 0.25))
    assert share_jobs(settings) == {}  # nothing to take a share of
    settings = replace(settings, unlabelled=replace(settings.unlabelled, folders=(str(tmp_path),)))
    found = share_jobs(settings)
    assert list(found) == [0.0, 0.25, 1.0]
    assert found[1.0] == student_jobs(settings)
    for job, student in zip(found[0.25], student_jobs(settings), strict=True):
        data = replace(student.data, unlabelled_fraction=0.25)
        assert job == replace(student, name=job.name, data=data)
    assert "unlabelled" not in found[0.0][0].artifacts()
    assert len({job.name for jobs in found.values() for job in jobs}) == 9


@pytest.fixture
def ready(run_dir, settings, utterances) -> Path:
    """A run with a teacher."""
    chosen = replace(settings, jobs=1)
    make_prepared(run_dir, utterances)
    features(run_dir, chosen)
    make_aligned(run_dir, chosen)
    for stage in (ensemble, transfer, posteriors):
        stage(run_dir, chosen)
    return run_dir


def test_controls_are_trained_and_scored(ready, settings) -> None:
    chosen = replace(with_distil(settings, sizes=(0.5,), epochs=2), jobs=1)
    distil(ready, chosen)
    metrics = {
        name: load_artifact(ready, name).metrics
        for name in ("baseline/baseline-00", "baseline/baseline-long-00", "distil/student-00",
                     "distil/student-0.5-00", "baseline/baseline-0.5-00")
    }  # fmt: skip
    usual, long, student, half, twin = metrics.values()
    assert long["updates"] == student["updates"] == half["updates"] == twin["updates"] == 2 * usual["updates"]
    assert half["parameters"] == twin["parameters"] == pytest.approx(student["parameters"] / 2, rel=0.1)
    before = {name: (ready / name / "manifest.json").stat().st_mtime_ns for name in metrics}
    baseline(ready, chosen)  # all are there
    assert {name: (ready / name / "manifest.json").stat().st_mtime_ns for name in metrics} == before

    made = evaluate(ready, chosen)
    frames = json.loads((made.path / "frames.json").read_text())
    assert {"student-0.5-00", "baseline-long-00"} <= set(frames["systems"])
    one, both = frames["ensemble_sizes"]
    assert (one["members"], both["members"]) == (1, 2)
    for set_name in ("dev", "test"):
        of_members = [frames["systems"][f"member-0{number}"][set_name] for number in (0, 1)]
        assert one[set_name] == [sum(scores["correct"]) / sum(scores["frames"]) for scores in of_members]
        scores = frames["systems"]["ensemble"][set_name]
        assert both[set_name] == [sum(scores["correct"]) / sum(scores["frames"])]


def test_ensembles_of_some_members_are_their_mean(ready, settings) -> None:
    three = replace(settings, ensemble=replace(settings.ensemble, members=3, compared_sizes=(2,)), jobs=1)
    ensemble(ready, three)
    posteriors(ready, three)
    distil(ready, three)
    [two] = json.loads((evaluate(ready, three).path / "frames.json").read_text())["ensemble_sizes"]
    store, alignments = FrameStore.open(ready / "features" / "dev"), AlignmentStore.open(ready / "align" / "dev")
    members = run_systems(three).system("ensemble").members[:2]
    models = load_networks(ready, members, store.features)
    inputs = [model.own_view.utterances(store, alignments.utterance_ids) for model in models]
    posteriors_of_each = [
        torch.cat(
            [log_posteriors_of_batch(model, batch, precision=settings.train.precision) for batch in batches]
        ).exp()
        for model, batches in zip(models, inputs, strict=True)
    ]
    best = (posteriors_of_each[0] + posteriors_of_each[1]).argmax(dim=1).numpy()
    assert two == {"members": 2, "dev": [np.mean(best == alignments.all_pdfs())], "test": two["test"]}


POINTS = sweep_points({"temperature": (1.0, 2.0, 4.0), "hard_weight": (0.0, 0.5)})


def test_a_grid_has_every_combination() -> None:
    assert {(point.temperature, point.hard_weight) for point in POINTS} == {
        (temperature, weight) for temperature in (1.0, 2.0, 4.0) for weight in (0.0, 0.5)
    }
    settings = with_distil(Settings(), sweep_labelled_shares=(0.4, 0.6))
    assert "labelled_share" not in sweep_axes(settings)  # all audio is labelled
    settings = replace(settings, unlabelled=replace(settings.unlabelled, folders=("x",)))
    assert {point.labelled_share for point in sweep_points(sweep_axes(settings))} == {0.4, 0.6}


@pytest.mark.parametrize(
    ("best", "edges", "wider"),
    [
        (SweepPoint(2.0, 0.0), {}, {}),  # no weight is below 0
        (SweepPoint(4.0, 0.0), {"temperature": 4.0}, {"temperature": 8.0}),
        (SweepPoint(1.0, 0.5), {"temperature": 1.0, "hard_weight": 0.5}, {"temperature": 0.5, "hard_weight": 1.0}),
    ],
)
def test_a_best_point_at_an_edge_widens_the_grid_there(best, edges, wider) -> None:
    axes = {"temperature": (1.0, 2.0, 4.0), "hard_weight": (0.0, 0.5)}
    assert at_edge(axes, best) == edges
    assert widened(axes, best) == {name: (*axes[name], *([wider[name]] if name in wider else [])) for name in axes}
    assert not at_edge({"temperature": (2.0,), "hard_weight": (0.5,)}, SweepPoint(2.0, 0.5))  # nothing was compared
    shares = {"labelled_share": (0.4, 0.8)}
    assert widened(shares, SweepPoint(1, 1, 0.8))["labelled_share"][-1] == pytest.approx(0.9)
    assert widened(shares, SweepPoint(1, 1, 0.4))["labelled_share"][-1] == pytest.approx(0.2)


def test_the_sweep_decides_what_students_use(ready, settings) -> None:
    grid = {"sweep_temperatures": (1.0, 2.0), "sweep_hard_weights": (0.5,), "sweep_widenings": 1}
    chosen = replace(with_distil(settings, sweep_decides=True, **grid), jobs=1)
    with pytest.raises(UserError, match="run `kd-asr sweep"):
        decided(ready, chosen)
    made = sweep(ready, chosen)
    assert len(made.metrics["rows"]) == 3  # with two temperatures, the best one is at an edge
    top = max(made.metrics["rows"], key=lambda row: row["dev_frame_accuracy"])
    soft, hard = decided(ready, chosen).methods[0].settings.losses
    assert (soft.loss.settings.temperature, hard.weight) == (top["temperature"], 0.5)
    assert decided(ready, with_distil(chosen, sweep_decides=False)).methods == settings.methods
    commands.make("distil", ready, chosen)
    found = json.loads((ready / "distil" / "student-00" / "manifest.json").read_text())["settings"]["losses"]
    assert found[0]["loss"]["settings"]["temperature"] == top["temperature"]
    with pytest.raises(UserError, match="tried other temperatures or weights"):
        decided(ready, with_distil(chosen, sweep_temperatures=(1.0, 3.0)))


def test_the_best_point_is_the_first_of_the_most_accurate(tmp_path) -> None:
    found = {
        point: Artifact(tmp_path, "x", "", {"dev_accuracy": accuracy}, 0.0, {})
        for point, accuracy in zip(POINTS, (0.1, 0.5, 0.4, 0.5, 0.2, 0.3), strict=True)
    }
    assert best_of(found) == POINTS[1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--distil.sweep_decides=true", "--distil.sweep_temperatures=[]"], "there is nothing to decide without"),
        (["--distil.sweep_decides=true", "--methods=[mutual]"], "hinton is not among the methods"),
        (["--distil.sizes=[0]"], "sizes"),
        (["--distil.sizes=[1.5]"], "sizes"),
        (["--distil.unlabelled_fractions=[1.1]"], "unlabelled_fractions"),
        (["--ensemble.compared_sizes=[0]"], "compared_sizes"),
        (["--distil.unlabelled_fractions=[0.5]"], "unlabelled_fractions: there is no unlabelled audio"),
        (["--distil.sweep_labelled_shares=[0.5]"], "sweep_labelled_shares: there is no unlabelled audio"),
    ],
)
def test_settings_that_cannot_work_are_refused(flags, message) -> None:
    with pytest.raises(UserError, match=message):
        parse_settings(flags)
