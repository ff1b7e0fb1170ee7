"""Sections of the report on what students gain from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from miniature_run import settings, write_artifact, write_run

from kd_asr.artifacts import read_json, write_json
from kd_asr.stages.controls import share_jobs
from kd_asr.stages.report import report

SIZES = [{"members": 1, "dev": [0.5, 0.54], "test": [0.4, 0.44]}, {"members": 2, "dev": [0.56], "test": [0.46]}]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with students of half the size, twice the updates, and shares of 30 minutes of unlabelled audio."""
    folder = tmp_path_factory.mktemp("run")
    chosen = settings()
    distil = replace(chosen.distil, epochs=8, sizes=(0.5,), unlabelled_fractions=(0.0, 0.5, 1.0))
    chosen = replace(chosen, distil=distil, unlabelled=replace(chosen.unlabelled, folders=(str(folder),)))
    write_run(folder, chosen)
    for fraction, jobs in share_jobs(chosen).items():
        for number, job in enumerate(jobs):
            figures = {"dev_accuracy": 0.5 + fraction / 10 + number / 100, "dev_cross_entropy": 2.0 - fraction}
            sizes = {"parameters": 1_234_567, "bytes": 4_938_268, "updates": 2000, "device": "cpu (of a kind)"}
            write_artifact(folder, job.name, {**sizes, **figures})
    write_artifact(folder, "unlabelled", {"files": 3})
    kept = {"frames": 460000, "unlabelled": {"seconds_kept": 1800.0}}
    write_artifact(folder, "posteriors", kept, inputs=["unlabelled"])
    best = {"best": {"temperature": 4.0, "hard_weight": 0.5, "labelled_share": None}, "at_edge": {"temperature": 4.0}}
    row = {
        "temperature": 4.0,
        "soft_weight": 1.0,
        "hard_weight": 0.5,
        "dev_frame_accuracy": 0.6,
        "dev_cross_entropy": 1,
    }
    write_artifact(folder, "sweep", {"rows": [row], **best})
    frames = folder / "evaluate" / "frames.json"
    write_json(frames, {**read_json(frames), "ensemble_sizes": SIZES})
    report(folder, chosen)
    return folder / "report"


def rows_of(page: str, title: str) -> list[list[str]]:
    """Cells of the first table of a section."""
    section = page.split(f"## {title}\n")[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[1:]]


def test_each_size_stands_beside_its_baseline(run: Path) -> None:
    page, figures = (run / "report.md").read_text(), read_json(run / "report.json")["figures"]
    rows = rows_of(page, "Smaller students")
    names = ["baseline, students' updates", "distilled", "baseline, size 0.5", "distilled, size 0.5"]
    groups = ["baseline-long", "distilled", "baseline-0.5", "distilled-0.5"]
    assert [row[0].split(" (")[0] for row in rows] == names
    for row, group in zip(rows, groups, strict=True):
        test = figures["systems"][group]["test"]
        assert row[3:5] == [f"{100 * test['frame_accuracy']:.2f}", f"{100 * test['wer']:.2f}"]
    for student, twin, row in ((groups[1], groups[0], rows[1]), (groups[3], groups[2], rows[3])):
        gain = figures["systems"][student]["test"]["wer"] - figures["systems"][twin]["test"]["wer"]
        assert row[6].startswith(f"{100 * gain:+.2f} (")


def test_shares_and_numbers_of_teachers_are_means_with_their_spread(run: Path) -> None:
    page = (run / "report.md").read_text()
    assert rows_of(page, "What the unlabelled audio brings") == [
        ["0 %", "0.0", "51.00 ± 1.00", "2.000 ± 0.000"],
        ["50 %", "15.0", "56.00 ± 1.00", "1.500 ± 0.000"],
        ["100 %", "30.0", "61.00 ± 1.00", "1.000 ± 0.000"],
    ]
    assert rows_of(page, "How many teachers") == [
        ["1", "2", "52.00 ± 2.83", "42.00 ± 2.83"],
        ["2", "1", "56.00", "46.00"],
    ]


def test_plots_are_there_and_the_choice_of_the_sweep_is_told(run: Path) -> None:
    page = (run / "report.md").read_text()
    for name in ("sizes.png", "unlabelled.png", "teachers.png"):
        assert f"]({name})" in page
        assert (run / name).stat().st_size > 5000
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (run / link).exists()
    assert "Best on dev: temperature 4, hard weight 0.5. The students use what the settings say. The best temp" in page
    assert "temperature, 4, is at the edge of what was tried" in page
    assert "The second group of baselines has the students' updates" in page
