"""Reports of any groups: several students, no ensemble, one system; figures against those computed by hand."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from miniature_run import settings, write_run

import kd_asr.reporting
from kd_asr.artifacts import read_json
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.evaluation.wer import align_words
from kd_asr.jobs.systems import Group, NetworkRef, System, Systems
from kd_asr.reporting import contents
from kd_asr.reporting.figures import run_figures
from kd_asr.reporting.markdown import summary
from kd_asr.reporting.mnist_figures import table_figures
from kd_asr.reporting.palette import PALETTE, coloured_groups
from kd_asr.reporting.run_results import DecodedUtterance
from kd_asr.stages import report as report_stage

REFERENCE = Group("plain", "plain", "reference", note="hard labels", plural="plain networks")
TEACHER = Group("many", "many", "teacher", paper="10xEnsemble")
STUDENTS = (
    Group("hinton", "Hinton", "student", "#00aa00", noun="Hinton student", paper="Distilled Single model"),
    Group("decoupled", "decoupled", "student", about="Learnt from targets and the others apart."),
    Group("mutual", "mutual learning", "student"),
)


def systems(*groups: Group, seeds: int = 2) -> Systems:
    made: list[System] = []
    for group in groups:
        if group == TEACHER:
            members = tuple(NetworkRef(f"many/member-{number:02d}") for number in range(3))
            made.append(System("many", "many", members))
        else:
            for number in range(seeds):
                name = f"{group.name}-{number:02d}"
                made.append(System(name, group.name, (NetworkRef(f"{group.name}/{name}"),)))
    return Systems(groups, tuple(made))


def write_report(run: Path, compared: Systems, monkeypatch: pytest.MonkeyPatch) -> dict:  # type: ignore[type-arg]
    write_run(run, settings(), systems=compared)
    monkeypatch.setattr(report_stage, "run_systems", lambda _: compared)
    monkeypatch.setattr(report_stage, "check_agreement", lambda *_: None)  # no settings have these systems
    report_stage.report(run, settings())
    output = io.StringIO()
    report_stage.print_table(run / "report" / "report.json", output)
    assert compared.groups[0].label in output.getvalue()
    return read_json(run / "report" / "report.json")


def test_three_student_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_report(tmp_path, systems(REFERENCE, TEACHER, *STUDENTS), monkeypatch)
    rows = contents.main_table(content).rows
    assert [row[0] for row in rows] == [
        "plain (1 network, hard labels, mean of 2)",
        "many (3 networks)",
        "Hinton (1 network, mean of 2)",
        "decoupled (1 network, mean of 2)",
        "mutual learning (1 network, mean of 2)",
    ]
    assert [row[-1] for row in rows] == ["–", "10.7", "10.7", "–", "–"]  # noqa: RUF001
    assert [row[4] for row in rows] == [f"{count * 1_234_567:,}" for count in (1, 3, 1, 1, 1)]
    share = contents.share_table(content)
    assert share is not None
    assert len(share.rows) == 2 * 2 * 3
    assert share.rows[6][0] == "test frame accuracy: Hinton"
    assert [row[-1] for row in share.rows[6:9]] == ["86", "–", "–"]  # noqa: RUF001
    differences = contents.comparison_table(content)
    assert differences is not None
    assert len(differences.rows) == 4 * 7
    text = summary(content)
    assert text.count(" of that gain") == 1
    for clause in ("and the Hinton student keeps", ", the decoupled ", "; the mutual learning's by "):
        assert clause in text
    assert text.count("the paper's: 86 %") == 1
    assert len(contents.speed_table(content).rows) == len(contents.choices_table(content).rows) == 5
    assert content["timings"]["network_real_time_factor"]["mutual"] == pytest.approx(1.1 / 275)
    page = (tmp_path / "report" / "report.md").read_text()
    assert "Learnt from targets and the others apart." in page
    monkeypatch.setenv("COLUMNS", "80")
    output = io.StringIO()
    report_stage.print_table(tmp_path / "report" / "report.json", output)
    assert "…" not in output.getvalue()
    assert "learning (2)" in output.getvalue()
    colours = [group["colour"] for group in content["groups"]]
    assert colours[2] == "#00aa00"
    assert len(set(colours)) == 5


@pytest.mark.parametrize(
    "compared",
    [
        pytest.param(systems(REFERENCE, STUDENTS[2]), id="no ensemble"),
        pytest.param(systems(TEACHER, STUDENTS[0]), id="no reference", marks=pytest.mark.slow),
        pytest.param(systems(REFERENCE, TEACHER), id="no student", marks=pytest.mark.slow),
        pytest.param(systems(TEACHER), id="ensemble only", marks=pytest.mark.slow),
        pytest.param(systems(STUDENTS[1], seeds=1), id="one system"),
    ],
)
def test_fewer_groups(compared: Systems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_report(tmp_path, compared, monkeypatch)
    for table in (contents.main_table, contents.frame_table, contents.speed_table, contents.choices_table):
        assert len(table(content).rows) == len(compared.groups)
    assert len(contents.word_table(content).rows) == 2 * len(compared.groups)
    differences = contents.comparison_table(content)
    assert (len(differences.rows) if differences else 0) == 4 * len(compared.comparisons)
    assert contents.share_table(content) is None
    page = (tmp_path / "report" / "report.md").read_text()
    assert "keeps" not in page.split("## ", maxsplit=1)[0]
    assert summary(content) in page
    if not compared.comparisons:
        assert summary(content).startswith("The WER of the ")
    # An ensemble alone has its members' spread; single networks have rows of their own.
    assert contents.seeds_table(content).rows


def test_figures_by_hand() -> None:
    compared = systems(REFERENCE, TEACHER, *STUDENTS[:2])
    right = {"plain-00": 40, "plain-01": 50, "many": 65, "hinton-00": 55, "hinton-01": 65}
    right |= {"decoupled-00": 50, "decoupled-01": 50}
    members = {"member-00": 40, "member-01": 50, "member-02": 60}
    wrong_words = {name: 10 - count // 10 for name, count in right.items()}

    def scores(count: int) -> FrameScores:
        # Both utterances have the same rate, so that every draw gives the set's figure.
        return FrameScores(("1-a", "2-b"), np.array([count, 2 * count]), np.array([100, 200]), np.array([100.0, 50.0]))

    def words(wrong: int) -> list[DecodedUtterance]:
        said = ["X"] * wrong + ["A"] * (10 - wrong)
        return [DecodedUtterance(name, align_words(["A"] * 10, said), 1.0, 0.1) for name in ("1-a", "2-b")]

    sets = ("train", "dev", "test")
    by_set = {set_name: {name: scores(count) for name, count in right.items()} for set_name in sets}
    decoded = {set_name: {name: words(count) for name, count in wrong_words.items()} for set_name in sets[1:]}
    found = run_figures(
        compared,
        by_set,
        decoded,
        {name: dict.fromkeys(sets, scores(count)) for name, count in members.items()},
        lambda name: name[0],
    )
    test = {group: one["test"] for group, one in found["systems"].items()}
    assert {group: one["frame_accuracy"] for group, one in test.items()} == pytest.approx(
        {"plain": 0.45, "many": 0.65, "hinton": 0.6, "decoupled": 0.5}
    )
    assert test["hinton"]["wer"] == pytest.approx((0.5 + 0.4) / 2)
    accuracy = found["comparisons"]["test"]["frame_accuracy"]
    assert {pair: round(one["value"], 9) for pair, one in accuracy.items()} == {
        "many - plain": 0.2,
        "hinton - plain": 0.15,
        "hinton - many": -0.05,
        "decoupled - plain": 0.05,
        "decoupled - many": -0.15,
    }
    assert accuracy["hinton - plain"]["interval"] == pytest.approx((0.15, 0.15))
    share = found["share_of_gain"]["test"]["frame_accuracy"]
    assert share["hinton"]["value"] == pytest.approx(0.15 / 0.2)
    assert share["decoupled"]["value"] == pytest.approx(0.05 / 0.2)
    assert found["members"]["many"]["test"] == pytest.approx({"mean": 0.5, "standard_deviation": 0.1, "count": 3})
    assert found["spread"]["plain"]["dev"]["frame_accuracy"]["mean"] == pytest.approx(0.45)
    assert found["by_speaker"]["speakers"] == 2
    assert found["by_speaker"]["wer"].keys() == accuracy.keys()


def test_shares_of_digits_by_hand() -> None:
    compared = systems(REFERENCE, Group("many", "many", "teacher"), *STUDENTS[:2])
    compared = Systems(
        compared.groups,
        tuple(System(f"{group.name}-{seed}", group.name, (NetworkRef(f"{group.name}-{seed}"),))
              for group in compared.groups for seed in range(1 if group.name == "decoupled" else 2)),
    )  # fmt: skip
    errors = {"plain": [10, 12], "many": [4, 6], "hinton": [6, 6], "decoupled": [7]}
    wrong = np.array([np.arange(40) < count for counts in errors.values() for count in counts])
    found = table_figures(compared, errors, wrong)["share_kept"]
    assert found["hinton"]["value"] == pytest.approx((11 - 6) / (11 - 5))
    assert found["decoupled"]["value"] == pytest.approx((10 - 7) / (10 - 4))  # of the one seed that all have
    alone = systems(STUDENTS[0], seeds=1)
    assert table_figures(alone, {"hinton": [3]}, wrong[:1])["share_kept"] == {}


def test_colours_are_all_different_and_those_given_are_kept() -> None:
    groups = [Group(str(number), str(number), colour="black" if number == 3 else "") for number in range(12)]
    colours = [group.colour for group in coloured_groups(groups)]
    assert colours[3] == "black"
    assert colours[:3] == list(PALETTE[:3])
    assert len({to_hex(colour) for colour in colours}) == 12


def test_reports_know_no_group_by_its_name() -> None:
    """Docstrings and running text may speak of a baseline; no key, name or label does."""
    names = {"baseline", "ensemble", "distilled", "hard_best", "hard_last", "soft_last", "ensemble student"}
    found, room = [], Path(kd_asr.reporting.__file__).parent
    # What `filters_*` show are no groups of a run: an experiment trains its own networks.
    for path in set(room.glob("*.py")) - set(room.glob("filters_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in names:
                found.append(f"{path.name}:{node.lineno}: {node.value}")
    assert found == []
