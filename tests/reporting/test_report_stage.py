"""The report of a miniature run, against figures computed from the run's files in another way."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import pytest
from miniature_run import settings, write_run
from page_checks import check_page

from kd_asr.artifacts import read_json
from kd_asr.distillation.settings import DistilSettings
from kd_asr.errors import UserError
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.settings import StudentSettings
from kd_asr.registry import named
from kd_asr.reporting.contents import comparison_table
from kd_asr.reporting.markdown import targets_sentence
from kd_asr.reporting.tables import NOT_KNOWN
from kd_asr.stages.report import print_table, report
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import run_systems


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, settings(), sweep=True)
    report(folder, settings())
    return folder


@pytest.fixture(scope="module")
def content(run: Path) -> dict:  # type: ignore[type-arg]
    return read_json(run / "report" / "report.json")


def test_files(run: Path) -> None:
    names = {path.name for path in (run / "report").iterdir()}
    plots = {"frame_accuracy.png", "wer.png", "training_curves.png", "dev_grid.png", "utterance.png"}
    systems = ("baseline-00", "baseline-01", "ensemble", "student-00", "student-01", "student-02")
    tables = {f"{set_name}-{name}.tsv" for set_name in ("dev", "test") for name in systems}
    figures = {name for name in names if name.startswith("table-") and name.endswith(".csv")}
    others = {"manifest.json", "report.json", "report.md", "index.html", "page"}
    assert names == {*others, *plots, *tables, *figures}
    assert len(figures) == (run / "report" / "report.md").read_text().count("\n|---|")
    check_page(run / "report")
    page = (run / "report" / "report.md").read_text()
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (run / "report" / link).exists()


def test_word_error_rates(run: Path, content: dict) -> None:  # type: ignore[type-arg]
    def lines(name: str) -> list[dict]:  # type: ignore[type-arg]
        return [json.loads(line) for line in (run / "decode" / name / "test.jsonl").read_text().splitlines()]

    def wer(name: str) -> float:
        decoded = lines(name)
        references, hypotheses = ([" ".join(one[side]) for one in decoded] for side in ("reference", "hypothesis"))
        return jiwer.wer(references, hypotheses)

    by_system = content["figures"]["systems"]
    baselines = [wer(f"baseline-{number:02d}") for number in range(2)]
    assert baselines[0] != baselines[1]
    assert by_system["baseline"]["test"]["wer"] == pytest.approx(np.mean(baselines))
    assert by_system["ensemble"]["test"]["wer"] == pytest.approx(wer("ensemble"))
    students = [wer(f"student-{number:02d}") for number in range(3)]
    assert by_system["distilled"]["test"]["wer"] == pytest.approx(np.mean(students))
    for system, each in (("baseline", baselines), ("distilled", students)):
        spread = content["figures"]["spread"][system]["test"]["wer"]
        assert spread["standard_deviation"] == pytest.approx(np.std(each, ddof=1))
        assert [one["test"]["wer"] for one in content["figures"]["networks"][system].values()] == pytest.approx(each)
    for one in (by_system[name][set_name] for name in by_system for set_name in ("dev", "test")):
        assert one["wer_interval"][0] < one["wer"] < one["wer_interval"][1]
        assert one["substitutions"] + one["deletions"] + one["insertions"] == pytest.approx(
            one["wer"] * one["reference_words"]
        )
    assert "wer" not in by_system["baseline"]["train"]


def test_frame_accuracies_and_share_of_gain(run: Path, content: dict) -> None:  # type: ignore[type-arg]
    scores = read_json(run / "evaluate" / "frames.json")["systems"]

    def accuracy(name: str, set_name: str) -> float:
        return sum(scores[name][set_name]["correct"]) / sum(scores[name][set_name]["frames"])

    figures = content["figures"]
    for set_name in ("train", "dev", "test"):
        by_system = {name: one[set_name] for name, one in figures["systems"].items()}
        baseline = np.mean([accuracy(f"baseline-{number:02d}", set_name) for number in range(2)])
        ensemble = accuracy("ensemble", set_name)
        student = np.mean([accuracy(f"student-{number:02d}", set_name) for number in range(3)])
        assert by_system["baseline"]["frame_accuracy"] == pytest.approx(baseline)
        assert by_system["distilled"]["frame_accuracy"] == pytest.approx(student)
        if set_name != "train":
            share = figures["share_of_gain"][set_name]["frame_accuracy"]["distilled"]
            assert share["value"] == pytest.approx((student - baseline) / (ensemble - baseline))
            assert share["interval"][0] < share["value"] < share["interval"][1]
    members = [accuracy(f"member-{number:02d}", "test") for number in range(4)]
    assert figures["members"]["ensemble"]["test"]["mean"] == pytest.approx(np.mean(members))
    assert figures["members"]["ensemble"]["test"]["standard_deviation"] == pytest.approx(np.std(members, ddof=1))
    assert figures["by_speaker"]["speakers"] == 7


def test_one_speaker_bounds_nothing(content: dict) -> None:  # type: ignore[type-arg]
    several = comparison_table(content)
    assert several is not None
    assert several.columns[-1] == "95 % interval over 7 speakers"
    assert " to " in several.rows[-1][-1]
    by_speaker = {**content["figures"]["by_speaker"], "speakers": 1}
    alone = comparison_table({**content, "figures": {**content["figures"], "by_speaker": by_speaker}})
    assert alone is not None
    assert {row[-1] for row in alone.rows} == {NOT_KNOWN}


def test_sizes_timings_and_rejected(content: dict) -> None:  # type: ignore[type-arg]
    assert content["sizes"]["ensemble"] == {"parameters": 4 * 1_234_567, "bytes": 4 * 4_938_268}
    assert content["sizes"]["distilled"] == content["sizes"]["baseline"]
    assert content["timings"]["wall_seconds"]["ensemble"] == pytest.approx(4 * 61.5)
    assert content["timings"]["search_real_time_factor"]["baseline"] == pytest.approx(0.125)
    assert content["timings"]["network_real_time_factor"]["ensemble"] == pytest.approx(10.2 / 275)
    assert content["timings"]["trained_on"] == [content["timings"]["applied_on"]] == ["cpu (of a kind)"]
    assert [(row["stage"], row["reason"], row["count"]) for row in content["rejected"]] == [
        ("prepare", "truncated: N of N s", 2),
        ("prepare", "empty transcript", 1),
        ("align", "no path at beam N", 1),
    ]


def test_utterance_table(run: Path) -> None:
    lines = (run / "report" / "test-baseline-00.tsv").read_text().splitlines()
    head, rows = lines[0].split("\t"), [line.split("\t") for line in lines[1:]]
    assert len(rows) == 50
    for row in rows:
        fields = dict(zip(head, row, strict=True))
        reference, hypothesis = fields["reference"].split(), fields["hypothesis"].split()
        assert len(reference) == len(hypothesis)
        assert int(fields["errors"]) == sum(a != b for a, b in zip(reference, hypothesis, strict=True))
        assert int(fields["reference_words"]) == sum(word != "***" for word in reference)


def test_page_says_the_figures(run: Path, content: dict) -> None:  # type: ignore[type-arg]
    page = (run / "report" / "report.md").read_text()
    assert page.startswith("# Distillation on LibriSpeech (train train-clean-5")
    test = content["figures"]["systems"]["distilled"]["test"]
    assert f"| {100 * test['frame_accuracy']:.2f} | {100 * test['wer']:.2f} |" in page
    assert "| 58.9 | 10.9 |" in page
    assert "## How to read this report" in page
    assert "Temperatures and loss weights that were tried" in page
    # Every table is whole: all its lines have the same number of cells.
    for block in re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE):
        assert len({line.count("|") - line.count("\\|") for line in block.splitlines()}) == 1


def test_console_table(run: Path, content: dict, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[type-arg]
    monkeypatch.setenv("COLUMNS", "80")
    output = io.StringIO()
    print_table(run / "report" / "report.json", output)
    printed = output.getvalue()
    assert "Distillation on LibriSpeech" in printed
    assert "keeps " in printed
    for system in content["figures"]["systems"].values():
        low, high = system["test"]["wer_interval"]
        assert f" {100 * system['test']['wer']:.2f} │ {100 * low:.2f} to {100 * high:.2f} " in printed
    assert "58.9 / 10.9 │" in printed
    assert printed.count("report.md") == 1


def test_synthetic_speech_is_named_everywhere(tmp_path: Path) -> None:
    chosen = settings("embedded", students=1)
    write_run(tmp_path, chosen)
    report(tmp_path, chosen)
    page = (tmp_path / "report" / "report.md").read_text()
    assert page.splitlines()[0] == "# Distillation on SYNTHETIC speech (embedded corpus, espeak-ng), not LibriSpeech"
    assert "distilled (1 network)" in page
    assert "tried, on dev" not in page
    output = io.StringIO()
    print_table(tmp_path / "report" / "report.json", output)
    assert "SYNTHETIC" in output.getvalue()
    assert "SYNTHETIC" in read_json(tmp_path / "report" / "report.json")["corpus"]["source_label"]


def test_same_run_same_bytes(run: Path, tmp_path: Path) -> None:
    write_run(tmp_path, settings(), sweep=True)
    report(tmp_path, settings())
    speed = re.compile(rb'(?<="operations_per_second": )[0-9.]+|(?<= at )[0-9,]+(?= GFLOP/s)')  # measured anew
    for path in (path for path in (run / "report").rglob("*") if path.is_file()):
        if path.name != "manifest.json":  # holds the wall time
            again = (tmp_path / "report" / path.relative_to(run / "report")).read_bytes()
            assert speed.sub(b"", again) == speed.sub(b"", path.read_bytes()), path.name


def _drop_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def test_sentences_for_incomplete_runs(tmp_path: Path) -> None:
    chosen = settings(students=1, members=2, baselines=1)
    write_run(tmp_path, chosen)
    decoded = tmp_path / "decode" / "ensemble" / "test.jsonl"
    whole = decoded.read_text()
    _drop_last_line(decoded)
    with pytest.raises(UserError, match="ensemble and baseline-00 were decoded on different utterances of test"):
        report(tmp_path, chosen)
    decoded.write_text(whole + '{"utterance_id": "x"}\n')
    with pytest.raises(UserError, match=r"test\.jsonl, line 51: not a decoded utterance"):
        report(tmp_path, chosen)
    decoded.write_text(whole)
    history = tmp_path / "baseline" / "baseline-00" / "history.jsonl"
    kept = history.read_text()
    history.write_text(kept + '{"update": 3}\n')
    with pytest.raises(UserError, match=r"history\.jsonl, line 41: epoch, train_loss, .* missing"):
        report(tmp_path, chosen)
    history.write_text(kept)
    frames = tmp_path / "evaluate" / "frames.json"
    scores = json.loads(frames.read_text())
    del scores["systems"]["student-00"]
    frames.write_text(json.dumps(scores))
    with pytest.raises(UserError, match="no scores of student-00"):
        report(tmp_path, chosen)
    (tmp_path / "posteriors" / "manifest.json").unlink()
    with pytest.raises(UserError, match="posteriors is missing: run `kd-asr posteriors"):
        report(tmp_path, chosen)
    assert not (tmp_path / "report").exists()


def test_targets_and_who_aligned_them() -> None:
    monophones = {"targets": "monophone states", "pdfs": 126, "gaussians": 700}
    assert targets_sentence(monophones) == "Targets: 126 monophone states; aligned by a GMM-HMM with 700 Gaussians."
    tied = {"targets": "tied triphone states", "pdfs": 2000, "gaussians": 7017, "networks": 2}
    assert targets_sentence(tied) == (
        "Targets: 2000 tied triphone states, the leaves of a decision tree; aligned by 2 networks that learnt from a "
        "GMM-HMM with 7017 Gaussians."
    )


def about(chosen: Settings, group: str = "baseline") -> str:
    return run_systems(chosen).group(group).about


def test_what_students_have_in_common_with_the_baseline(run: Path) -> None:
    page = (run / "report" / "report.md").read_text()
    assert about(settings()) == "Baselines, members and students have one architecture and budget."
    assert about(settings()) in page
    losses = "soft loss (temperature 2; weight 1), hard loss (weight 0.5)"
    assert about(settings(), "distilled") == f"Distilled networks learn from posteriors and labels: {losses}."
    assert about(settings(), "distilled") in page
    network, distil = named("network", "dnn", DnnSettings(dropout=0.2)), DistilSettings(dropout=0.0, copies=3)
    other = about(replace(settings(), network=network, distil=distil))
    assert "but for the dropout of hidden units: 0 in students of the ensemble, 0.2 in the others." in other
    assert other.endswith(" Students of the ensemble see 3 perturbed copies of the training set as well.")
    same = about(replace(settings(), network=network, distil=DistilSettings(dropout=0.2)))
    assert same == "Baselines, members and students have one architecture and budget."
    student = StudentSettings(named("network", "tdnn"))
    unlike = about(replace(settings(), student=student, distil=DistilSettings(dropout=0.0)))
    said = "Baselines and students have one architecture, members another one, and all have one budget,"
    assert unlike.startswith(said)
    assert "0 in students of the ensemble, 0.1 in baselines" in unlike
