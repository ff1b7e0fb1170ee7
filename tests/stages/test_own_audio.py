"""A user's files through the systems of a run in miniature, and what of the run other programs can read."""

import gc
import io
import json
import os
import pickle
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jiwer
import kaldiio
import lhotse
import numpy as np
import pytest
import soundfile
import torch
from test_align_stage import LEXICON, make_run

from kd_asr.alignment.classes import write_classes
from kd_asr.alignment.ctm import read_ctm
from kd_asr.alignment.lexicon import with_positions
from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import SILENCE, Topology, without_position
from kd_asr.artifacts import load_artifact
from kd_asr.cli import main
from kd_asr.corpora.lhotse import Lhotse, LhotseSettings
from kd_asr.corpora.manifest import read_manifest
from kd_asr.decoding.arpa import write_arpa
from kd_asr.decoding.decoder import Decoder, Search, penalised, unpickled_scores
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.decoding.online import OnlineDecoder, OnlineGraph
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.teachers.base import Lesson
from kd_asr.distillation.teachers.posteriors import PosteriorsSettings, PosteriorsTeacher
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.errors import UserError
from kd_asr.exchange import FORMATS
from kd_asr.experiments.uncertainty import uncertainty as experiment
from kd_asr.jobs.systems import NetworkRef
from kd_asr.networks.settings import AdaptSettings
from kd_asr.presets import find_preset, preset_names
from kd_asr.recognition.export import export
from kd_asr.recognition.folder import EXPORT_FILE, MODEL_SETTINGS_FILE, open_export, write_settings
from kd_asr.recognition.networks import RecogniserScores
from kd_asr.recognition.own_audio import align_files, open_recogniser, transcribe
from kd_asr.recognition.recogniser import ENGINES
from kd_asr.recognition.runs import find_system
from kd_asr.recognition.stream import LoadedRecogniser, StreamRecogniser
from kd_asr.settings.fields import dump
from kd_asr.settings.files import save_settings
from kd_asr.stages import recognise
from kd_asr.stages.align import align
from kd_asr.stages.decode import decode
from kd_asr.stages.distil import distil
from kd_asr.stages.ensemble import ensemble
from kd_asr.stages.graph import graph
from kd_asr.stages.language_model import language_model
from kd_asr.stages.networks import posteriors_of
from kd_asr.stages.own_frames import store_frames
from kd_asr.stages.posteriors import posteriors
from kd_asr.stages.rescore import rescore
from kd_asr.stages.settings import Settings, load_settings, parse_settings
from kd_asr.stages.systems import run_systems
from kd_asr.stages.transfer import transfer
from kd_asr.tasks.targets import log_prior

pytestmark = pytest.mark.early

BASELINE = "baseline/baseline-00"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own_audio")


@pytest.fixture
def decoded(folder: Path, settings: Settings, utterances) -> Path:
    """A run that has decoded; made once for all tests of this file, with the audio of the first."""
    run = folder / "run"
    if not run.exists():
        made = make_run(run, replace(settings, jobs=1), utterances, with_positions(LEXICON))
        made = replace(
            made,
            align=replace(made.align, leaves=24, leaf_min_frames=2, tied_gaussians=40, tied_iterations=1),
            decode=replace(
                made.decode, acoustic_scales=(0.2,), insertion_penalties=(0.0, 0.5), tuning_beam=made.decode.beam
            ),
            train=replace(made.train, epochs=8),
            baseline=replace(made.baseline, networks=2),
            distil=replace(made.distil, students=2),
            adapt=AdaptSettings(prior_frames=100),  # recognised as in the set means: with the same speaker's statistics
        )
        save_settings(run, made)
        for stage in (language_model, align, ensemble, transfer, posteriors, distil, graph, decode):
            stage(run, made)
        for utterance in utterances["dev"]:
            shutil.copy(utterance.audio_path, folder)
    return run


def speaker_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("10-1-*.flac"))


@pytest.mark.parametrize(
    ("model", "system"),
    [(BASELINE, "baseline-00"), ("distil/student-00", "student-00"), ("ensemble", "ensemble")],
)
def test_files_of_a_speaker_are_recognised_as_when_they_were_a_set(decoded: Path, folder: Path, model, system) -> None:
    lines = (decoded / "decode" / system / "dev.jsonl").read_text().splitlines()
    expected = {item["utterance_id"]: item["hypothesis"] for item in map(json.loads, lines)}
    files = speaker_files(folder)
    timed, failed = transcribe(decoded / model, files, one_speaker=True, jobs=1)
    assert failed == []
    assert [[word.word for word in item.words] for item in timed] == [expected[file.stem] for file in files]
    for item in timed:
        ends = [word.start_frame + word.num_frames for word in item.words]
        assert all(word.start_frame >= end for word, end in zip(item.words, [0, *ends], strict=False))
        assert item.seconds == pytest.approx(soundfile.info(item.file).duration)


@pytest.mark.parametrize("kind", ["baseline", "ensemble", "distilled"])
def test_the_pair_of_a_kind_is_the_best_for_the_mean_of_its_networks(decoded: Path, kind: str) -> None:
    tuned = load_artifact(decoded, f"decode/tuning-{kind}").metrics
    systems = run_systems(load_settings(decoded))
    names = [system.name for system in systems.of_group(systems.group(kind))]
    assert len(names) == (1 if kind == "ensemble" else 2)
    wers = []
    for name in names:
        made = load_artifact(decoded, f"decode/{name}")
        assert (made.metrics["acoustic_scale"], made.metrics["insertion_penalty"]) == (0.2, tuned["insertion_penalty"])
        lines = [json.loads(line) for line in (made.path / "dev.jsonl").read_text().splitlines()]
        references, hypotheses = ([" ".join(line[of]) for line in lines] for of in ("reference", "hypothesis"))
        wers.append(jiwer.wer(references, hypotheses))
    grid = {cell["insertion_penalty"]: cell["dev_wer"] for cell in tuned["grid"]}
    assert set(grid) == {0.0, 0.5}
    assert grid[tuned["insertion_penalty"]] == min(grid.values()) == pytest.approx(sum(wers) / len(wers))


def test_other_rates_and_channels_are_read_and_bad_files_are_told(decoded: Path, folder: Path, tmp_path: Path) -> None:
    samples, _ = soundfile.read(speaker_files(folder)[0])
    stereo, broken, silent = tmp_path / "stereo.wav", tmp_path / "broken.flac", tmp_path / "silent.wav"
    soundfile.write(stereo, np.stack([samples, samples], axis=1)[::2], 8000)
    broken.write_bytes(b"fLaC" + b"\0" * 100)
    soundfile.write(silent, np.zeros(16000), 16000)
    timed, failed = transcribe(decoded / BASELINE, [broken, stereo, silent, tmp_path / "none.wav"], jobs=1)
    assert [item.file for item in timed] == [stereo]
    assert [item.file.name for item in failed] == ["broken.flac", "silent.wav", "none.wav"]
    assert "unreadable audio" in failed[0].reason
    assert "silence" in failed[1].reason


def test_align_files_writes_what_other_programs_read(decoded: Path, folder: Path, tmp_path: Path, capsys) -> None:
    files = []
    for file in speaker_files(folder):
        files.append(Path(shutil.copy(file, tmp_path)))
        files[-1].with_suffix(".txt").write_text("One, two!\n")
    lone = Path(shutil.copy(files[0], tmp_path / "lone.flac"))
    timed, failed = align_files(decoded / BASELINE, [*files, lone], tmp_path / "out", one_speaker=True, jobs=1)
    assert [(item.file, item.reason) for item in failed] == [(lone, f"there is no transcript {tmp_path}/lone.txt")]
    for item in timed:
        words = read_ctm(tmp_path / "out" / f"{item.file.stem}.ctm")[item.file.stem]
        assert [word.phone for word in words] == ["ONE", "TWO"]
        lines = [line.split() for line in (tmp_path / "out" / f"{item.file.stem}.ctm").read_text().splitlines()]
        assert [float(line[5]) for line in lines] == [round(word.posterior, 4) for word in item.words]
        assert words[0].start + words[0].duration <= words[1].start + 1e-9
        # Phones cover all frames, as those of the stage do.
        frames = len(AlignmentStore.open(decoded / "align" / "dev").pdfs(item.file.stem))
        assert sum(phone.num_frames for phone in item.phones) == frames
        text_grid = (tmp_path / "out" / f"{item.file.stem}.TextGrid").read_text()
        assert 'name = "phones"' in text_grid
        assert 'text = "AH1"' in text_grid  # as the dictionary names it, without its position
    files[0].with_suffix(".txt").write_text("one two xyzzy")
    with pytest.raises(UserError, match=r"\.TextGrid is there already: --overwrite"):
        align_files(decoded / BASELINE, files[:1], tmp_path / "out", jobs=1)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--out: .*file is not a folder"):
        align_files(decoded / BASELINE, files[:1], tmp_path / "file" / "out", jobs=1)
    aligned, failed = align_files(decoded / BASELINE, files[:1], tmp_path / "out", overwrite=True, jobs=1)
    assert "XYZZY" in capsys.readouterr().err
    assert [word.word for word in aligned[0].words] == ["ONE", "TWO", "XYZZY"] or failed


def test_a_long_file_is_recognised_in_pieces(decoded: Path, folder: Path, tmp_path: Path) -> None:
    """Two files with half a second of quiet between them: the words of both, and times that go on."""
    first, second = (soundfile.read(file)[0] for file in speaker_files(folder))
    pause = 1e-3 * np.random.default_rng(0).standard_normal(8000)
    both = tmp_path / "my file\tof two.wav"
    soundfile.write(both, np.concatenate([first, pause, second]), 16000)
    whole, _ = transcribe(decoded / BASELINE, [both], jobs=1)
    pieces, failed = transcribe(decoded / BASELINE, [both], jobs=1, piece_seconds=1.2)
    assert failed == []
    assert pieces[0].seconds == whole[0].seconds == pytest.approx((len(first) + 8000 + len(second)) / 16000)
    covered = [(phone.start_frame, phone.num_frames) for phone in pieces[0].phones]
    assert all(start + length == after for (start, length), (after, _) in pairwise(covered))
    assert sum(length for _, length in covered) == sum(phone.num_frames for phone in whole[0].phones)
    _, failed = transcribe(decoded / BASELINE, [both], jobs=1, piece_seconds=1.2, alternatives=2)
    assert "longer than 1.2 s" in failed[0].reason


def test_names_that_are_hard_to_print_stay_in_their_field(
    decoded: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/my file\tcaf\xe9.wav"))
    samples, rate = soundfile.read(speaker_files(folder)[0])
    with file.open("wb") as target:
        soundfile.write(target, np.stack([samples, -samples], axis=1), rate, format="WAV")
    file.with_suffix(".txt").write_text("one two")
    options = ["--jobs", "1", "--channel", "1"]
    assert main(["transcribe", str(decoded / BASELINE), str(file), *options]) == 0
    assert capsys.readouterr().out.split("\t")[0] == f"{tmp_path}/my file\\tcaf\\udce9.wav"
    assert main(["transcribe", str(decoded / BASELINE), str(file), "--jobs", "1"]) == 2
    assert "opposite phase" in capsys.readouterr().err
    align_files(decoded / BASELINE, [file], tmp_path / "out", channel=1, jobs=1)
    (ctm,) = (tmp_path / "out").glob("*.ctm")
    assert list(read_ctm(ctm)) == ["my_file_caf_"]


def test_a_member_has_the_baselines_scale_and_wrong_folders_are_told(decoded: Path, tmp_path: Path) -> None:
    system = find_system(decoded / "ensemble" / "member-01")
    assert (system.scaled_as, system.networks) == ("baseline-00", (NetworkRef("ensemble/member-01"),))
    assert find_system(decoded / "distil" / "student-00").scaled_as == "student-00"
    with pytest.raises(UserError, match="neither in a run folder nor an export"):
        find_system(tmp_path)
    with pytest.raises(UserError, match="is not a system of the run"):
        find_system(decoded / "features")


def test_the_commands_print_text_and_json_and_fail_when_nothing_can_be_used(
    decoded: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = speaker_files(folder)[0]
    assert main(["transcribe", str(decoded / BASELINE), str(file), "--jobs", "1"]) == 0
    name, text = capsys.readouterr().out.rstrip("\n").split("\t")
    assert name == str(file)
    assert main(["transcribe", str(decoded / BASELINE), str(file), "--jobs", "1", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["text"] == text == " ".join(word["word"] for word in content["words"])
    assert content["seconds"] == pytest.approx(soundfile.info(file).duration, abs=1e-3)
    assert all(0 <= word["start"] < word["end"] <= content["seconds"] + 0.02 for word in content["words"])
    assert all(0 < word["mean_posterior"] <= 1 for word in content["words"])
    options = ["--jobs", "1", "--json", "--alternatives", "3"]
    assert main(["transcribe", str(decoded / BASELINE), str(file), *options]) == 0
    several = json.loads(capsys.readouterr().out)
    assert several["text"] == several["alternatives"][0]["text"]
    assert 1 <= len(several["alternatives"]) <= 3
    costs = [one["cost"] for one in several["alternatives"]]
    assert costs == sorted(costs) and costs[0] == 0
    assert all(0 < word["confidence"] <= 1 for word in several["words"])
    assert main(["transcribe", str(decoded / BASELINE), str(file), "--alternatives", "-1"]) == 2
    assert main(["transcribe", str(decoded / BASELINE), str(folder / "none.wav"), "--jobs", "1"]) == 2
    assert "none of the files could be used" in capsys.readouterr().err
    assert main(["align-files", str(decoded / BASELINE), str(file), str(file), "--jobs", "1"]) == 2
    assert f"two files are called {file.stem}" in capsys.readouterr().err


def test_the_graph_s_own_language_model_changes_nothing_and_another_one_is_listened_to(
    decoded: Path, tmp_path: Path, settings: Settings
) -> None:
    saved = load_settings(decoded)
    own = next((decoded / "language_model").glob("lm.arpa*"))
    same = replace(saved, rescore=replace(saved.rescore, arpa=str(own), weights=(0.5, 1.0), alternatives=5))
    for artifact in rescore(decoded, same):
        assert artifact.metrics["weight"] == 0
        for name in ("dev", "test"):
            figures = artifact.metrics[name]
            assert figures["after"] == figures["before"] >= figures["oracle"]
        assert len({wer for _, wer in artifact.metrics["grid"]}) == 1
        lines = [json.loads(line) for line in (artifact.path / "dev.jsonl").read_text().splitlines()]
        assert all(line["hypothesis"] == line["before"] and 1 <= line["alternatives"] <= 5 for line in lines)
    # A model of nothing but the transcript of dev.
    write_arpa(tmp_path / "dev.arpa", estimate_ngrams([("ONE", "TWO")] * 50 + [("ONE",), ("TWO",)], 2))
    other = replace(saved, rescore=replace(same.rescore, arpa=str(tmp_path / "dev.arpa"), weights=(0.9, 1.0)))
    for artifact in rescore(decoded, other):
        assert artifact.metrics["dev"]["after"] <= artifact.metrics["dev"]["before"]
    with pytest.raises(UserError, match=r"rescore\.arpa: name an ARPA"):
        rescore(decoded, saved)


def test_every_system_says_how_unsure_it_is_of_its_errors_and_of_odd_audio(
    decoded: Path, settings: Settings, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(experiment, "_MOST_SPEECH", 3)
    found = experiment.uncertainty(decoded, load_settings(decoded))
    rows = {(row["question"], row["unit"], row["group"], row["measure"]): row for row in found.metrics["rows"]}
    odd = {(kind, unit) for kind in ("8 kHz", "noise", "tones", "foreign", "English") for unit in ("file", "frame")}
    assert {key[:2] for key in rows} == {("wrong frames", "frame"), ("wrong words", "word"), *odd}
    for group, measures in (("baseline", 1), ("distilled", 1), ("ensemble", 3)):
        of_group = [row for key, row in rows.items() if key[:3] == ("wrong frames", "frame", group)]
        assert len(of_group) == measures and all(0 <= row["area"] <= 1 for row in of_group)
        assert {row["systems"] for row in of_group} == {1 if group == "ensemble" else 2}
    experiment.print_table(found)
    assert "distilled" in capsys.readouterr().out
    lines = (found.path / "uncertainty.tsv").read_text().splitlines()
    assert len(lines) == 1 + 12 * (4 + 3)  # two baselines, two students, three measures of the ensemble
    assert "# Uncertainty on" in (found.path / "uncertainty.md").read_text()


def dumped(place: Path, out: Path, *options: str) -> Path:
    assert main(["dump", str(place), "--out", str(out), "--jobs", "1", *options]) == 0
    return out


def test_alignments_are_read_back_by_other_libraries(decoded: Path, tmp_path: Path) -> None:
    store = AlignmentStore.open(decoded / "align" / "dev")
    manifest = {item.utterance_id: item for item in read_manifest(decoded / "prepare" / "dev.jsonl")}
    out = {form: dumped(decoded, tmp_path / form, "--format", form, "--set", "dev") for form in FORMATS}
    archive = kaldiio.load_scp(str(out["kaldi"] / "pdfs.scp"))
    with np.load(out["npz"] / "pdfs.npz") as arrays:
        assert sorted(arrays.files) == sorted(archive) == sorted(store.utterance_ids)
        for name in store.utterance_ids:
            np.testing.assert_array_equal(archive[name], store.pdfs(name))
            np.testing.assert_array_equal(arrays[name], store.pdfs(name))
    words, phones = (read_ctm(out["ctm"] / f"{tier}.ctm") for tier in ("words", "phones"))
    supervisions = lhotse.load_manifest(out["lhotse"] / "dev_supervisions.jsonl.gz")
    recordings = lhotse.load_manifest(out["lhotse"] / "dev_recordings.jsonl.gz")
    lhotse.validate_recordings_and_supervisions(recordings, supervisions)
    assert len(supervisions) == len(store.utterance_ids)
    for item in supervisions:
        expected = [(one.phone, one.start_frame, one.num_frames) for one in store.phones(item.id)]
        as_ctm = [(one.phone, round(100 * one.start), round(100 * one.duration)) for one in phones[item.id]]
        assert as_ctm == [(without_position(phone), *rest) for phone, *rest in expected]
        assert tuple(item.text.split()) == manifest[item.id].words == tuple(one.phone for one in words[item.id])
        assert [one.symbol for one in item.alignment["word"]] == item.text.split()
        for one, timed in zip(item.alignment["word"], words[item.id], strict=True):
            assert (one.start, one.duration) == (pytest.approx(timed.start), pytest.approx(timed.duration))
        assert recordings[item.recording_id].num_samples == manifest[item.id].num_samples
        text = (out["textgrid"] / f"{item.id}.TextGrid").read_text()
        assert all(f'text = "{word}"' in text for word in manifest[item.id].words)
    # The corpus reader takes them back.
    listed = Lhotse(LhotseSettings(train=str(out["lhotse"] / "dev_supervisions.jsonl.gz"))).listing("train")
    assert {one.utterance_id: (one.text, one.audio_path) for one in listed.utterances} == {
        name: (" ".join(item.words), item.audio_path) for name, item in manifest.items()
    }


def test_classes_say_which_states_of_which_phones_they_are(decoded: Path, tmp_path: Path) -> None:
    topology = Topology.load(decoded / "align" / "topology.json")
    store = AlignmentStore.open(decoded / "align" / "train")
    write_classes(tmp_path / "classes.tsv", topology, store)
    header, *lines = (tmp_path / "classes.tsv").read_text().splitlines()
    assert header == "class\tstate\tframes\tphones\tcontext"
    counts = np.bincount(store.all_pdfs(), minlength=topology.num_pdfs)
    rows = [line.split("\t") for line in lines]
    assert [int(row[0]) for row in rows] == list(range(topology.num_pdfs))
    assert [int(row[2]) for row in rows] == counts.tolist()
    for state, pdf in enumerate(topology.pdfs(SILENCE)):
        assert rows[pdf][1] == str(state) and rows[pdf][3] == SILENCE
    for name in store.utterance_ids:
        for segment in store.phones(name):
            for pdf in store.pdfs(name)[segment.start_frame : segment.start_frame + segment.num_frames]:
                assert without_position(segment.phone) in rows[pdf][3].split(",")


def test_dumped_posteriors_teach_as_the_ensemble_does(decoded: Path, tmp_path: Path) -> None:
    out = dumped(decoded / "ensemble", tmp_path / "kaldi", "--format", "kaldi")
    npz = dumped(decoded / "ensemble", tmp_path / "npz", "--format", "npz")
    train = AlignmentStore.open(decoded / "align" / "train")
    num_pdfs = Topology.load(decoded / "align" / "topology.json").num_pdfs
    names = train.utterance_ids
    with np.load(npz / "posteriors.npz") as arrays:
        for name, matrix in kaldiio.load_scp(str(out / "posteriors.scp")).items():
            np.testing.assert_array_equal(matrix, arrays[name])
            # Utterances that could not be aligned have frames all the same.
            assert matrix.shape[1] == num_pdfs and (name not in names or len(matrix) == len(train.pdfs(name)))
    frames = [len(train.pdfs(name)) for name in names]
    lesson = Lesson([], names, header={"sample_rate": 16000}, frames=frames, num_classes=num_pdfs, labelled=len(names))
    outside = PosteriorsTeacher.open(lesson, PosteriorsSettings(str(out / "posteriors.scp"), top_k=4))
    stored = StoredTeacher(PosteriorStore(decoded / "posteriors"), names)
    numbers = torch.arange(sum(frames))
    one, other = (teacher.read(numbers).targets for teacher in (outside, stored))
    assert one is not None and other is not None
    torch.testing.assert_close(one.log_probs, other.log_probs, atol=0.02, rtol=0.01)
    torch.testing.assert_close(one.tail_prior, other.tail_prior, atol=1e-3, rtol=0.01)


def test_what_cannot_be_dumped_is_one_sentence(decoded: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for arguments, message in (
        ([decoded / "ensemble", "--format", "ctm"], "posteriors are written as kaldi or npz, not as ctm"),
        ([decoded / "nothing", "--format", "npz"], "is not a system of the run"),
        ([decoded, "--format", "npz", "--out", tmp_path / "full"], "is not an empty folder"),
        ([decoded, "--format", "htk"], "--format is ctm, textgrid, lhotse, kaldi or npz, not 'htk'"),
    ):
        assert main(["dump", "--out", str(tmp_path / "out"), *map(str, arguments)]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_an_export_folder_does_what_the_run_does_and_needs_nothing_else(
    decoded: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("distil/student-00", "ensemble"):
        assert main(["export", str(decoded / model), str(tmp_path / model), "--formats", "torch"]) == 0
    files = speaker_files(folder)
    said = {model: transcribe(decoded / model, files, jobs=1) for model in ("distil/student-00", "ensemble")}
    for file in files:
        shutil.copy(file, tmp_path)
        (tmp_path / file.name).with_suffix(".txt").write_text("one two")
    copies = sorted(tmp_path.glob("*.flac"))
    aligned, _ = align_files(decoded / "distil/student-00", copies, tmp_path / "of_run", jobs=1)
    before = (tmp_path / "distil/student-00" / EXPORT_FILE).read_bytes()
    student = [str(decoded / "distil/student-00"), str(tmp_path / "distil/student-00")]
    assert main(["export", *student, "--formats", "torch"]) == 0
    assert "done before, unchanged" in capsys.readouterr().err
    assert (tmp_path / "distil/student-00" / EXPORT_FILE).read_bytes() == before
    with pytest.raises(UserError, match="holds another export: --overwrite replaces it"):
        export(decoded / BASELINE, tmp_path / "ensemble", formats=["torch"])
    with pytest.raises(UserError, match="is no export folder"):
        export(decoded / BASELINE, tmp_path, formats=["torch"])
    away = folder / "elsewhere"
    decoded.rename(away)
    try:
        for model, expected in said.items():
            moved = (tmp_path / model).rename(tmp_path / f"moved-{Path(model).name}")
            assert transcribe(moved, files, jobs=1) == expected
            assert [item.alternatives for item in transcribe(moved, files[:1], alternatives=3, jobs=1)[0]] != [()]
        moved = tmp_path / "moved-student-00"
        assert align_files(moved, copies, tmp_path / "of_folder", jobs=1)[0] == aligned
    finally:
        away.rename(decoded)
    card = (moved / "README.md").read_text()
    assert "The run had no report when" in card and "## Licences" in card
    classes = [line.split("\t") for line in (moved / "classes.tsv").read_text().splitlines()[1:]]
    assert [int(line[0]) for line in classes] == list(range(load_artifact(decoded, "align").metrics["pdfs"]))
    assert export(decoded / BASELINE, moved, formats=["torch"], overwrite=True) == moved
    assert open_export(moved).name == "baseline-00"
    # Every file that is damaged, missing or cut short is one sentence.
    for file in sorted(path for path in moved.rglob("*") if path.is_file()):
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(UserError, match=f"{file.name} is damaged .*copy the export folder again"):
            open_export(moved)
        file.write_bytes(whole)
    with pytest.raises(UserError, match=r"--engine int8: there is no .*model\.int8\.onnx"):
        transcribe(moved, files, engine="int8", jobs=1)
    (moved / "prior.npy").unlink()
    assert main(["transcribe", str(moved), str(files[0])]) == 2
    assert f"{moved}/prior.npy is damaged (missing)" in capsys.readouterr().err
    (moved / EXPORT_FILE).unlink()
    assert main(["transcribe", str(moved), str(files[0])]) == 2
    assert "neither in a run folder nor an export folder" in capsys.readouterr().err


def test_a_search_that_goes_on_finds_what_one_of_the_whole_finds(decoded: Path, tmp_path: Path) -> None:
    rng, pdfs = np.random.default_rng(0), load_artifact(decoded, "align").metrics["pdfs"]
    search = Search(0.2, 0.5, beam=30.0)
    graph = decoded / "graph"
    with penalised(graph, 0.5, tmp_path) as file:
        whole, online = Decoder(graph, search, graph_file=file), OnlineDecoder(OnlineGraph(graph, file, search))
    for frames in (0, 1, 40, 150):
        scores = rng.normal(0, 20, (frames, pdfs)).astype(np.float32)
        online.start()
        for part in np.array_split(scores, 7):
            online.advance(part)
        expected, found = whole.decode("u", scores), online.best(ended=True)
        assert (found.words, len(found.pdfs)) == (expected.words, frames)
        assert (found.relative_cost < np.inf) == expected.reached_final
        assert found.relative_cost >= 0


def test_a_stream_that_comes_at_once_is_heard_as_the_file_is(
    decoded: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = open_recogniser(decoded / BASELINE, jobs=1)
    recogniser = replace(found, settings=replace(found.settings, adapt=AdaptSettings()))  # a stream is not adapted to
    files, loaded = speaker_files(folder), LoadedRecogniser(recogniser)
    frames = tmp_path / "frames"
    audio, _ = store_frames(files, frames, found.settings.features, usual=found.usual, one_speaker=False)
    scores = RecogniserScores(recogniser, frames, {})
    graph, search = recogniser.searches_with
    with penalised(graph, search.insertion_penalty, tmp_path) as penalised_file:
        decoder = Decoder(graph, search, graph_file=penalised_file)
    for file, item in zip(files, audio, strict=True):
        samples, _ = soundfile.read(file, dtype="float32")
        stream = StreamRecogniser(loaded)
        *partial, final = [*stream.accept(samples), *stream.finish()]
        name = item.pieces[0].name
        assert final.words == decoder.decode(name, scores(name)).words
        assert [one.kind for one in partial] == ["partial"] * len(partial)
        times = [time for word in final.timed for time in (word["start"], word["end"])]
        assert times == sorted(times) and [word["word"] for word in final.timed] == list(final.words)
    # Through the command, as PCM and as WAV, for longer than an utterance may last.
    long = np.tile(samples, 1 + 41 * 16000 // len(samples))
    soundfile.write(tmp_path / "long.wav", long, 16000, subtype="PCM_16")
    outputs = []
    for data in ((tmp_path / "long.wav").read_bytes(), np.rint(32768 * long).astype("<i2").tobytes()):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert main(["transcribe", str(decoded / BASELINE), "--stream", "-"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    lines = [json.loads(line) for line in outputs[0].splitlines()]
    starts = [line["start"] for line in lines if line["kind"] == "final"]
    assert len(starts) >= 2 and starts == sorted(starts)
    assert all(after - before < 40.2 for before, after in pairwise(starts))
    assert all(0 <= line["certain"] <= len(line["text"].split()) for line in lines if line["kind"] == "partial")
    assert main(["transcribe", str(decoded / BASELINE), "--stream", "-", str(files[0])]) == 2
    assert "--stream takes - for standard input or mic for a microphone, and no files" in capsys.readouterr().err
    assert main(["transcribe", str(decoded / BASELINE), str(files[0]), "--rate", "8000"]) == 2
    assert "--rate is that of --stream:" in capsys.readouterr().err


@pytest.mark.slow
def test_every_engine_of_an_export_folder_hears_the_same(decoded: Path, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    files = speaker_files(folder)
    for int8 in ("static", "dynamic"):
        made = export(decoded / BASELINE, tmp_path / int8, int8=int8)
        found = {engine: transcribe(made, files, engine=engine, jobs=1)[0] for engine in ENGINES}
        words = {engine: [[word.word for word in item.words] for item in said] for engine, said in found.items()}
        assert words["torch"] == words["onnx"] == words["int8"]
        converted = json.loads((made / EXPORT_FILE).read_text())["converted"]["model.safetensors"]
        assert converted["onnx_difference"] < 1e-4
        assert converted["int8_against_fp32"]["divergence"] < 0.05
    shutil.rmtree(tmp_path / "dynamic")
    both = export(decoded / "ensemble", tmp_path / "ensemble", formats=["int8"])
    assert sorted(path.name for path in both.glob("*.onnx")) == ["model-00.int8.onnx", "model-01.int8.onnx"]
    assert transcribe(both, files, engine="int8", jobs=1)[1] == []


@pytest.mark.parametrize("preset", preset_names())
def test_an_export_s_part_of_the_settings_is_read_as_it_was_in_the_run(preset: str, tmp_path: Path) -> None:
    settings = parse_settings([], find_preset(preset))
    write_settings(tmp_path, dump(settings))
    found = parse_settings([], tmp_path / MODEL_SETTINGS_FILE)
    for section in ("features", "spelling", "align", "adapt", "decode", "train"):
        assert getattr(found, section) == getattr(settings, section)


def test_a_worker_keeps_the_scores_of_all_seeds(decoded: Path, monkeypatch) -> None:
    """A point of the grid is tried with one system after another, and so is the next one."""
    settings, asked = load_settings(decoded), []

    def counted(models, store, utterance_ids, **options):  # type: ignore[no-untyped-def]
        asked.append(utterance_ids)
        return posteriors_of(models, store, utterance_ids, **options)

    monkeypatch.setattr(recognise, "posteriors_of", counted)
    num_pdfs = Topology.load(decoded / "align" / "topology.json").num_pdfs
    prior = log_prior(AlignmentStore.open(decoded / "align" / "train"), num_pdfs)
    name = AlignmentStore.open(decoded / "align" / "dev").utterance_ids[0]

    def rounds(room: int, settings: Settings) -> list[list[np.ndarray]]:
        monkeypatch.setattr(recognise, "_KEPT_BYTES", room)
        asked.clear()
        systems = [one for one in run_systems(settings).systems if one.name.startswith("baseline")]
        scores = [pickle.dumps(recognise.set_scores(decoded, "dev", one, settings, prior)) for one in systems]
        return [[unpickled_scores(one)(name) for one in scores] for _ in range(2)]

    first, second = rounds(10**9, settings)
    assert len(asked) == 2 and all(one is other for one, other in zip(first, second, strict=True))
    gc.collect()
    kept = sum(one.nbytes for one in first)
    other = replace(settings, decode=replace(settings.decode, beam=5.0))  # further objects, whose scores do not fit
    again, _ = rounds(kept + first[0].nbytes, other)
    assert len(asked) == 3
    for one, before in zip(again, first, strict=True):
        np.testing.assert_array_equal(one, before)
