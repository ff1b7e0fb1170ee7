"""The main job with networks that learn sequences, from corpus to report, and what it made on other audio."""

import json
from pathlib import Path

import pytest

from kd_asr.cli.main import main
from kd_asr.presets import find_preset
from kd_asr.settings.yaml_text import read_yaml
from kd_asr.stages.settings import parse_settings

SMALL = (
    *("--corpus", "embedded", "--corpus.embedded.size", "miniature", "--jobs", "1", "--device", "cpu"),
    *("--align.cepstral_iterations=6", "--align.discriminant_iterations=1", "--align.gaussians=300"),
    *("--align.leaves=180", "--align.leaf_min_frames=30", "--align.tied_gaussians=500"),
    *("--sequence.leaves=150", "--sequence.leaf_min_frames=20", "--network.tdnnf.hidden_units=64"),
    *("--network.tdnnf.dilations=[1,3,3]", "--network.tdnnf.chunk_frames=20", "--train.epochs=2"),
    *("--train.batch_frames=160", "--ensemble.members=2", "--baseline.networks=1", "--distil.students=1"),
)


def test_the_preset_learns_sequences() -> None:
    settings = parse_settings([], find_preset("chain"))
    assert settings.targets.artifact == "sequence_targets" and settings.problems() == []
    assert settings.train.batch_frames % settings.network.settings.chunk_frames == 0
    assert read_yaml(find_preset("chain").read_text())["preset"] == "chain"


@pytest.mark.slow
def test_from_corpus_to_report_and_to_other_audio(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "speech", "--preset", "chain", "--out", "run", *SMALL]) == 0
    found = json.loads(Path("run/report/report.json").read_text())["figures"]["systems"]
    assert set(found) == {"baseline", "ensemble", "distilled"}
    capsys.readouterr()
    assert main(["run", "speech", "--preset", "chain", "--out", "run", *SMALL]) == 0
    assert "done before, unchanged" in capsys.readouterr().err
    audio = next(Path("data").rglob("*.flac"))
    assert main(["export", "run/distil/student-00", "exported", "--formats", "torch"]) == 0
    capsys.readouterr()
    spoken = []
    for model in ("run/distil/student-00", "exported"):
        assert main(["transcribe", model, str(audio), "--json"]) == 0
        spoken.append(capsys.readouterr().out)
    assert spoken[0] == spoken[1]
    audio.with_suffix(".txt").write_text("one two three")
    assert main(["align-files", "exported", str(audio), "--out", "aligned"]) == 0
    assert list(Path("aligned").glob("*.TextGrid"))
    assert main(["transcribe", "exported", "--stream", "-"]) == 2
    assert "not for networks that learn sequences" in capsys.readouterr().err
