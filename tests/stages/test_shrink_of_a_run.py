"""`kd-asr shrink` from a finished run in miniature to a folder that transcribes."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from test_align_stage import LEXICON, make_run

from kd_asr.alignment.lexicon import with_positions
from kd_asr.cli.main import main
from kd_asr.networks.files import load_network
from kd_asr.recognition.folder import open_export
from kd_asr.recognition.own_audio import transcribe
from kd_asr.settings.files import save_settings
from kd_asr.stages.align import align
from kd_asr.stages.decode import decode
from kd_asr.stages.distil import distil
from kd_asr.stages.ensemble import ensemble
from kd_asr.stages.graph import graph
from kd_asr.stages.language_model import language_model
from kd_asr.stages.posteriors import posteriors
from kd_asr.stages.settings import Settings
from kd_asr.stages.transfer import transfer


def finished(run: Path, settings: Settings, utterances) -> None:
    """Everything up to `decode`."""
    made = make_run(run, replace(settings, jobs=1, device="cpu"), utterances, with_positions(LEXICON))
    align_settings = replace(made.align, leaves=24, leaf_min_frames=2, tied_gaussians=40, tied_iterations=1)
    search = replace(made.decode, acoustic_scales=(0.2,), insertion_penalties=(0.0,), tuning_beam=made.decode.beam)
    made = replace(made, align=align_settings, decode=search)
    save_settings(run, made)
    for stage in (language_model, align, ensemble, transfer, posteriors, distil, graph, decode):
        stage(run, made)


def lines_of(run: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with (run / "shrink" / "map" / "map.csv").open(newline="") as file:
        return {(line["group"], line["form"], line["writing"]): line for line in csv.DictReader(file)}


@pytest.mark.slow
def test_from_a_run_to_a_map_and_to_the_network_that_fits(run_dir, settings, utterances, tmp_path, capsys) -> None:
    finished(run_dir, settings, utterances)
    forms = ["--forms", "pruned-70,units-50,low-rank-50,quantised", "--epochs", "2"]
    command = ["shrink", str(run_dir), *forms, "--decode", "all"]
    assert main(command) == 0
    lines = lines_of(run_dir)
    written = {"fp32", "fp16", "bf16", "int8"}
    forms_of = {(group, form) for group, form, _ in lines}
    assert {
        (group, form) for group in ("baseline", "distilled") for form in ("full", "pruned-70", "units-50")
    } < forms_of
    assert {writing for group, form, writing in lines if (group, form) == ("distilled", "full")} == written
    assert {writing for _, form, writing in lines if form == "quantised"} == {"int8"}
    assert {writing for group, _, writing in lines if group == "ensemble"} == {"fp32"}
    full, half, small = (lines["distilled", "full", one] for one in ("fp32", "bf16", "int8"))
    assert float(half["bytes"]) < 0.8 * float(full["bytes"])
    assert float(small["bytes"]) < float(full["bytes"])
    pruned = lines["distilled", "pruned-70", "fp32"]
    assert float(pruned["weights"]) < 0.5 * float(full["weights"])
    assert float(pruned["packed"]) < 0.7 * float(full["packed"])
    fewer = lines["distilled", "units-50", "fp32"]
    assert float(fewer["multiply_adds"]) < 0.6 * float(full["multiply_adds"])
    assert all(line["wer"] for line in lines.values())
    capsys.readouterr()
    # The same command again trains and measures nothing.
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("manifest.json")}
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("manifest.json")} == before
    most = str(int(float(pruned["packed"])))
    assert main([*command, "--target-bytes", most, "--out", str(tmp_path / "small")]) == 0
    recogniser = open_export(tmp_path / "small")
    audio = Path(shutil.copy(utterances["dev"][0].audio_path, tmp_path / "mine.flac"))
    engine = "int8" if (tmp_path / "small" / "model.int8.onnx").exists() else "torch"
    timed, failed = transcribe(tmp_path / "small", [audio], jobs=1, engine=engine)
    assert len(timed) == 1 and not failed
    assert load_network(recogniser.networks[0]).num_classes > 0
    capsys.readouterr()
    assert main([*command, "--target-bytes", "10", "--out", str(tmp_path / "smaller")]) == 2
    assert "no point of the map fits (--target-bytes 10: the smallest is" in capsys.readouterr().err
    assert not (tmp_path / "smaller").exists()
