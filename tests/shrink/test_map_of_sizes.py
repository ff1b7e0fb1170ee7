"""The map of smaller networks: fronts, choices, tables, and the trainings that it takes, without any training."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kd_asr.artifacts import Artifact
from kd_asr.errors import UserError
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.jobs.job import MODEL
from kd_asr.jobs.systems import Group, NetworkRef, System
from kd_asr.networks.pruned import PrunedSettings
from kd_asr.shrink.forms import FULL, form_of
from kd_asr.shrink.map import Row, best_of, rows_of, with_words
from kd_asr.shrink.measure import Written
from kd_asr.shrink.page import map_table, write_map
from kd_asr.shrink.plan import ShrinkOptions, Shrunk, fine_tunings
from kd_asr.shrink.shrink import Target, check_target
from kd_asr.stages.plan import baseline_jobs, student_jobs
from kd_asr.stages.settings import parse_settings

GROUPS = [Group("baseline", "baseline"), Group("distilled", "distilled")]


def row(group: str, form: str, packed: float, time: float, accuracy: float) -> Row:
    return Row(group, form, "fp32", ("one",), packed, packed, 10, 10, time, (accuracy,), (accuracy, accuracy))


def measured(folder: Path, written: Written, correct: list[int], size: int) -> Artifact:
    """What `measure` and `decode` leave, with counts of our own."""
    folder.mkdir()
    names = tuple(f"utterance-{number}" for number in range(len(correct)))
    frames = np.full(len(correct), 10)
    scores = FrameScores(names, np.array(correct), frames, np.zeros(len(correct)))
    (folder / "scores.json").write_text(json.dumps(scores.to_json()))
    errors = {"utterance_ids": names, "errors": [10 - one for one in correct], "words": [20] * len(correct)}
    (folder / "errors.json").write_text(json.dumps(errors))
    metrics = {"bytes": 2 * size, "packed": size, "weights": 5, "multiply_adds": 7.0, "real_time_factor": size / 1e6}
    return Artifact(folder, written.name, "", {**metrics, "frame_accuracy": scores.frame_accuracy}, 0.0, {})


def test_rows_are_means_over_seeds_and_fronts_hold_what_nothing_beats(tmp_path: Path) -> None:
    counts = {
        ("baseline", FULL): ([[5, 6, 7], [6, 7, 8]], 1000),
        ("distilled", FULL): ([[8, 8, 8], [7, 9, 8]], 1000),
        ("distilled", "pruned-90"): ([[6, 6, 6], [6, 6, 6]], 100),
        ("baseline", "pruned-90"): ([[7, 3, 4], [4, 4, 4]], 110),
    }
    made = {}
    for (group, form), (of_seeds, size) in counts.items():
        for seed, correct in enumerate(of_seeds):
            name = f"{group}-{seed:02d}"
            system = System(name, group, (NetworkRef(name),))
            written = Written(Shrunk(system, form, system.members), "fp32")
            made[written] = measured(tmp_path / written.name, written, correct, size)
    rows = rows_of(made, GROUPS)
    assert [one.name for one in rows] == [
        "baseline full fp32", "baseline pruned-90 fp32", "distilled full fp32", "distilled pruned-90 fp32"
    ]  # fmt: skip
    assert [one.frame_accuracy for one in rows] == pytest.approx([0.65, 26 / 60, 0.8, 0.6])
    assert rows[0].frame_accuracies == pytest.approx((0.6, 0.7))
    assert rows[0].interval[0] < 0.65 < rows[0].interval[1]
    assert [one.fronts for one in rows] == [(), (), ("packed", "real_time_factor"), ("packed", "real_time_factor")]
    key = rows[2].key
    artifacts = [made[one] for one in made if (one.shrunk.origin.group, one.shrunk.form, one.writing) == key]
    rows = with_words(rows, {key: artifacts})
    assert rows[2].wers == pytest.approx((0.1, 0.1)) and rows[0].wer is None
    write_map(tmp_path, rows, GROUPS, "a corpus")
    with (tmp_path / "map.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["frame_accuracy"]) for line in lines] == [one.frame_accuracy for one in rows]
    assert [line["wer"] for line in lines] == ["", "", "0.1", ""]
    page = (tmp_path / "map.md").read_text()
    assert "# Smaller networks: a corpus" in page and "100 B \\*" in page
    assert (tmp_path / "map.png").stat().st_size > 10_000
    assert map_table(rows, GROUPS).rows[3][:3] == ("distilled (2)", "pruned-90", "fp32")


def test_the_best_that_fits_is_chosen_and_if_none_does_the_nearest_is_told() -> None:
    rows = [row("a", FULL, 1000, 0.2, 0.7), row("a", "units-50", 500, 0.1, 0.6), row("b", "units-50", 500, 0.1, 0.65)]
    assert best_of(rows, most_bytes=None, most_time=None).form == FULL
    assert best_of(rows, most_bytes=999, most_time=None).group == "b"
    assert best_of(rows, most_bytes=1000, most_time=0.15).group == "b"
    with pytest.raises(UserError, match=r"--target-bytes 499: the smallest is a units-50 fp32 with 500 bytes"):
        best_of(rows, most_bytes=499, most_time=None)
    with pytest.raises(UserError, match=r"--target-rtf 0\.05: the smallest is a units-50 fp32 with a factor of 0\.1"):
        best_of(rows, most_bytes=None, most_time=0.05)


def test_a_target_and_a_folder_belong_together() -> None:
    check_target(Target(), None)
    check_target(Target(packed=1), Path("out"))
    with pytest.raises(UserError, match="name a folder with --out"):
        check_target(Target(real_time_factor=0.1), None)
    with pytest.raises(UserError, match="say what it may cost"):
        check_target(Target(), Path("out"))


def test_each_network_is_fine_tuned_as_it_was_trained() -> None:
    settings = parse_settings(["--distil.students=2", "--baseline.networks=1"])
    planned = fine_tunings(settings, ShrinkOptions(("pruned-70", "quantised"), epochs=0.5, learning_rate=0.1))
    by_name = {job.name: job for job in planned.values()}
    assert list(by_name) == [
        f"shrink_networks/{form}-{system}"
        for system in ("baseline-00", "student-00", "student-01")
        for form in ("pruned-70", "quantised")
    ]
    one = fine_tunings(settings, ShrinkOptions(("quantised",), systems=("student-01", "baseline")))
    assert [job.start_from for job in one.values()] == ["baseline/baseline-00", "distil/student-01"]
    [baseline], [student, _] = baseline_jobs(settings), student_jobs(settings)
    for before, name in ((baseline, "pruned-70-baseline-00"), (student, "pruned-70-student-00")):
        job = by_name[f"shrink_networks/{name}"]
        assert (job.losses, job.teacher, job.data) == (before.losses, before.teacher, before.data)
        assert (job.start_from, job.epochs, job.keep) == (before.name, 0.5, "last")
        assert job.budget == replace(before.budget, learning_rate=0.1 * before.budget.learning_rate)
        assert job.networks[MODEL].settings == PrunedSettings(sparsity=0.7, body=before.network)
    assert len({job.seed for job in planned.values()}) == len(planned)


def test_unknown_forms_and_groups_and_networks_that_cannot_have_a_form_are_refused() -> None:
    for name in ("pruned-0", "pruned-100", "units", "halved"):
        with pytest.raises(UserError, match=f"'{name}' is no form of a network: choose pruned-N"):
            form_of(name)
    settings = parse_settings([])
    with pytest.raises(UserError, match="no single network or group is called 'ensemble': choose of baseline"):
        fine_tunings(settings, ShrinkOptions(systems=("ensemble",)))
    factored = parse_settings(["--network=tdnnf", "--train.batch_frames=1200"])
    with pytest.raises(UserError, match=r"baseline-00: units of tdnnf cannot be pruned, .*leave the form units-50 out"):
        fine_tunings(factored, ShrinkOptions(forms=("units-50",)))
