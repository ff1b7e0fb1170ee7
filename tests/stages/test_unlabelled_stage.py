"""Audio without transcripts: what is read of it, what is left out, and what students learn from it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import make_prepared, tone
from made_up_labels import make_aligned
from safetensors.torch import load_file

import kd_asr.stages.unlabelled as stage
from kd_asr.artifacts import load_artifact
from kd_asr.corpora.manifest import read_manifest
from kd_asr.corpora.unlabelled import UnlabelledSettings
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.errors import UserError
from kd_asr.features.frames import frames_of_file, normalise
from kd_asr.features.parts import read_parts
from kd_asr.features.store import FrameStore
from kd_asr.features.usual_speaker import UsualSpeaker
from kd_asr.jobs.job import MODEL
from kd_asr.jobs.systems import NetworkRef
from kd_asr.networks.inference import log_posteriors_of_batch
from kd_asr.networks.tdnn import TdnnSettings
from kd_asr.registry import named
from kd_asr.stages.distil import distil
from kd_asr.stages.ensemble import ensemble
from kd_asr.stages.features import USUAL_SPEAKER_FILE, features
from kd_asr.stages.plan import student_jobs
from kd_asr.stages.posteriors import posteriors
from kd_asr.stages.settings import Settings, parse_settings
from kd_asr.stages.systems import load_networks
from kd_asr.stages.transfer import transfer
from kd_asr.stages.unlabelled import unlabelled
from kd_asr.tasks.speech import PARTS, SpeechData


def table(path: Path) -> dict[str, str]:
    """File name -> reason, of a table of what was left out."""
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return {Path(row[1]).name: row[2] for row in rows}


@pytest.fixture
def prepared(run_dir, settings, utterances) -> Path:
    make_prepared(run_dir, utterances)
    features(run_dir, replace(settings, jobs=1))
    return run_dir


@pytest.fixture
def audio(tmp_path) -> Path:
    """A folder of audio in no particular layout: a.wav, deep/b.ogg in Opus at 48 kHz, deep/c d.flac."""
    folder = tmp_path / "audio"
    (folder / "deep").mkdir(parents=True)
    tone(folder / "a.wav", seconds=1.0, seed=1)
    tone(folder / "b.wav", seconds=2.0, seed=2, rate=48000)
    samples, rate = soundfile.read(folder / "b.wav")
    soundfile.write(folder / "deep" / "b.ogg", samples, rate, format="OGG", subtype="OPUS")
    (folder / "b.wav").unlink()
    tone(folder / "deep" / "c d.flac", seconds=1.5, seed=3)
    return folder


def with_audio(settings: Settings, *folders: Path, **others: object) -> Settings:
    own = replace(UnlabelledSettings(), folders=tuple(map(str, folders)), **others)
    return replace(settings, unlabelled=own, jobs=1)


def test_any_layout_is_read_and_what_cannot_be_used_is_listed(prepared, settings, audio, utterances) -> None:
    (audio / "transcript.txt").write_text("NOT READ\n")
    (audio / ".hidden.wav").write_bytes(b"")
    (audio / "empty.mp3").write_bytes(b"")
    (audio / "noise.flac").write_bytes(b"fLaC" + bytes(range(200)))
    soundfile.write(audio / "silent.wav", np.zeros(16000), 16000)
    tone(audio / "short.wav", seconds=0.2, seed=4)
    shutil.copy(utterances["test"][0].audio_path, audio / "leak.flac")
    samples, rate = soundfile.read(utterances["test"][1].audio_path)
    soundfile.write(audio / "encoded.ogg", 0.5 * samples, rate, format="OGG", subtype="VORBIS")
    (audio / "again.wav").symlink_to(audio / "a.wav")
    tone(audio / "deep" / "c_d.flac", seconds=0.7, seed=3)  # the name of `c d.flac` without white space
    cut = (audio / "deep" / "b.ogg").read_bytes()
    (audio / "cut.ogg").write_bytes(cut[: len(cut) * 2 // 3])
    made = unlabelled(prepared, with_audio(settings, audio))
    assert made is not None
    assert made.metrics["files"] == 3
    assert made.metrics["rejected"] == 9
    found = table(made.path / "rejected.tsv")
    assert set(found) == {
        "empty.mp3", "noise.flac", "silent.wav", "short.wav", "leak.flac", "encoded.ogg", "again.wav", "c_d.flac",
        "cut.ogg",
    }  # fmt: skip
    assert found["leak.flac"] == "it belongs to test"
    other = utterances["test"][1].utterance_id
    assert found["encoded.ogg"] == f"the same audio as '{other}' of test, encoded in another way"
    assert found["silent.wav"] == "silence only"
    assert found["short.wav"].startswith("shorter than prepare.min_seconds")
    assert found["again.wav"] == "the same file as another one"
    assert "truncated" in found["cut.ogg"]
    store = FrameStore.open(made.path / "frames")
    assert store.utterance_ids == [
        "unlabelled-0-a.wav-0000", "unlabelled-0-deep-b.ogg-0000", "unlabelled-0-deep-c_d.flac-0000"
    ]  # fmt: skip
    usual = UsualSpeaker.load(prepared / "features" / USUAL_SPEAKER_FILE)
    for path, piece in (("a.wav", "unlabelled-0-a.wav-0000"), ("deep/b.ogg", "unlabelled-0-deep-b.ogg-0000")):
        [own] = normalise([frames_of_file(audio / path, settings.features).frames], usual)
        assert np.array_equal(store.frames(piece), own.astype(np.float16).astype(np.float32))
    assert [Path(one.audio_path).name for one in read_manifest(made.path / "files.jsonl")] == [
        "a.wav", "b.ogg", "c d.flac"
    ]  # fmt: skip


def test_without_folders_there_is_nothing_and_bad_folders_are_refused(prepared, settings, tmp_path) -> None:
    assert unlabelled(prepared, settings) is None
    assert not (prepared / "unlabelled").exists()
    with pytest.raises(UserError, match=r"there is no folder .*nowhere of unlabelled audio"):
        unlabelled(prepared, with_audio(settings, tmp_path / "nowhere"))
    (tmp_path / "texts").mkdir()
    with pytest.raises(UserError, match="texts holds no audio files"):
        unlabelled(prepared, with_audio(settings, tmp_path / "texts"))
    (tmp_path / "texts" / "bad.wav").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds no audio that can be used; 1 files .*bad\.wav: empty file"):
        unlabelled(prepared, with_audio(settings, tmp_path / "texts"))


def test_long_files_are_cut_and_copies_are_perturbed_pieces(prepared, settings, audio) -> None:
    chosen = with_audio(settings, audio, longest_seconds=1.0, copies=2)
    made = unlabelled(prepared, chosen)
    assert made is not None
    store = FrameStore.open(made.path / "frames")
    pieces = [name for name in store.utterance_ids if "+" not in name]
    assert len(store.utterance_ids) == 3 * len(pieces) == 3 * made.metrics["pieces"] > 9
    assert max(store.num_frames(name) for name in pieces) <= 100
    of_b = [name for name in pieces if "-deep-b.ogg-" in name]
    whole = np.concatenate([store.frames(name) for name in of_b])
    [expected] = normalise([frames_of_file(audio / "deep" / "b.ogg", settings.features).frames])
    assert np.array_equal(whole, expected.astype(np.float16).astype(np.float32))  # nothing is lost, one normalisation
    lengths = {store.num_frames(f"{name}+{copy}") - store.num_frames(name) for name in pieces for copy in (1, 2)}
    assert min(lengths) < 0 < max(lengths)
    assert unlabelled(prepared, replace(chosen, seed=7)).fingerprint != made.fingerprint
    assert unlabelled(prepared, chosen).fingerprint == made.fingerprint


@pytest.mark.parametrize(
    ("others", "groups"),
    [({}, 3), ({"normalisation": "folder"}, 2), ({"speaker": "([ab])[.]"}, 3), ({"speaker": "(deep)"}, 2)],
)
def test_frames_are_normalised_by_file_folder_or_speaker(prepared, settings, audio, others, groups) -> None:
    made = unlabelled(prepared, with_audio(settings, audio, **others))
    assert made is not None
    assert made.metrics["normalised_together"] == groups
    store = FrameStore.open(made.path / "frames")
    deep = [store.frames(name) for name in store.utterance_ids if "-deep-" in name]
    together = np.abs(np.concatenate(deep).mean(axis=0)).max() < 0.01
    each = max(np.abs(one.mean(axis=0)).max() for one in deep) < 0.01
    assert together
    assert each == (groups == 3)


def test_a_folder_of_more_than_an_hour_is_normalised_in_parts(prepared, settings, audio, monkeypatch) -> None:
    monkeypatch.setattr(stage, "_TOGETHER_SECONDS", 2.5)
    made = unlabelled(prepared, with_audio(settings, audio, speaker="(.)"))
    assert made is not None
    store = FrameStore.open(made.path / "frames")
    deep = [store.frames(name) for name in store.utterance_ids if "-deep-" in name]
    assert max(np.abs(one.mean(axis=0)).max() for one in deep) < 0.01


@pytest.fixture
def taught(prepared, settings, audio) -> tuple[Path, Settings]:
    """A run with posteriors of unlabelled audio, of which a.wav has a second of near silence."""
    samples, rate = soundfile.read(audio / "a.wav")
    pause = 1e-4 * np.random.default_rng(5).standard_normal(rate)
    soundfile.write(audio / "a.wav", np.concatenate([samples, pause, samples]), rate)
    chosen = with_audio(settings, audio, longest_silence=0.1, copies=1)
    chosen = replace(chosen, distil=replace(chosen.distil, epochs=3))
    make_aligned(prepared, chosen)
    unlabelled(prepared, chosen)
    ensemble(prepared, chosen)
    transfer(prepared, chosen)
    posteriors(prepared, chosen)
    return prepared, chosen


def test_the_store_has_what_the_ensemble_does_not_take_for_silence(taught) -> None:
    run_dir, settings = taught
    made = load_artifact(run_dir, "posteriors")
    parts, store = read_parts(made.path / PARTS), PosteriorStore(made.path)
    frames = FrameStore.open(run_dir / "unlabelled" / "frames")
    models = load_networks(run_dir, [NetworkRef(f"ensemble/member-0{number}") for number in (0, 1)], frames.features)
    left = 0
    for name in frames.utterance_ids:
        inputs = models[0].own_view.utterances(frames, [name])
        log_probs = [
            torch.cat([log_posteriors_of_batch(model, batch, precision=settings.train.precision) for batch in inputs])
            for model in models
        ]
        mean = torch.stack([one.exp() for one in log_probs]).mean(dim=0)
        silent = (mean[:, :3].sum(dim=1) > 0.5).tolist()  # pdfs 0 to 2 are SIL's
        own = [part for part in parts if part.utterance_id == name]
        kept = {frame for part in own for frame in range(part.first_frame, part.first_frame + part.frames)}
        assert sum(part.frames for part in own) == len(kept)
        left += len(kept)
        assert {frame for frame, one in enumerate(silent) if not one} <= kept  # speech is never left out
        runs = np.split(np.arange(len(silent)), np.flatnonzero(np.diff(silent)) + 1)
        for run in (run for run in runs if silent[run[0]]):
            borders = int(run[0] > 0) + int(run[-1] < len(silent) - 1)
            expected = len(run) if len(run) <= 10 else 5 * borders
            assert len(kept & set(run.tolist())) == expected
        for part in own:  # the posteriors are those of just these frames
            found = store.targets(torch.tensor(list(store.rows(part.name)))).classes[:, 0]
            best = mean.argmax(dim=1)[part.first_frame : part.first_frame + part.frames]
            assert (found == best).float().mean() > 0.9  # rounding to 16 bits may turn ties
    counted = made.metrics["unlabelled"]
    assert counted["frames_kept"] == left
    assert counted["frames_of_silence_left_out"] == sum(map(frames.num_frames, frames.utterance_ids)) - left
    assert counted["parts"] == len(parts)
    on_train = json.loads((made.path / "train_scores.json").read_text())["ensemble"]["frames"]
    train = FrameStore.open(run_dir / "features" / "train")
    assert sum(on_train) == sum(map(train.num_frames, train.utterance_ids))


@pytest.mark.parametrize("kind", ["dnn", "tdnn"])
def test_students_learn_from_labelled_and_unlabelled_frames_in_proportion(taught, kind) -> None:
    run_dir, settings = taught
    tdnn = named("network", "tdnn", TdnnSettings(dilations=(1, 2), hidden_units=16, chunk_frames=8))
    network = tdnn if kind == "tdnn" else settings.network
    chosen = replace(settings, student=replace(settings.student, network=network))
    [job] = student_jobs(chosen)
    assert isinstance(job.data, SpeechData)
    assert {"unlabelled", "posteriors", "transfer"} <= set(job.artifacts())
    examples = job.data.open(run_dir, job).examples
    assert examples.mixture is not None
    assert examples.mixture.share == 0.5
    hard_labels = examples.hard_labels[torch.arange(len(examples))]
    labelled = (hard_labels != UNLABELLED).reshape(len(examples), -1).any(dim=1)
    assert labelled[: examples.mixture.first].all()
    assert not labelled[examples.mixture.first :].any()
    batch = examples.batch(torch.tensor([0, len(examples) - 1]))
    assert batch.signal.targets is not None
    assert len(batch.signal.targets.classes) == len(batch.hard_labels) == 2 * examples.labels_per_example

    half = replace(job, data=replace(job.data, unlabelled_fraction=0.5)).data.open(run_dir, job).examples
    none = replace(job.data, unlabelled_fraction=0.0).open(run_dir, job).examples
    assert examples.mixture.first == len(none) < len(half) < len(examples)
    assert none.mixture is None

    distil(run_dir, chosen)
    made = load_artifact(run_dir, "distil/student-00").metrics
    assert made["updates"] == 3 * load_artifact(run_dir, "baseline/baseline-00").metrics["updates"]
    assert made["examples"] == len(examples)
    assert (run_dir / "distil" / "student-00" / f"{MODEL}.safetensors").exists()


def test_settings_of_unlabelled_audio_are_checked() -> None:
    for flags, message in (
        (["--unlabelled.speaker=("], "not a regular expression"),
        (["--unlabelled.speaker=a"], "needs one group in parentheses, it has 0"),
        (["--unlabelled.silence_posterior=1.1"], "silence_posterior"),
        (["--unlabelled.normalisation=set"], "normalisation"),
        (["--distil.labelled_share=1"], "labelled_share"),
        (["--distil.epochs=0"], "epochs"),
    ):
        with pytest.raises(UserError, match=message):
            parse_settings(flags)


def test_a_live_teacher_answers_for_unlabelled_frames_as_the_store_does(taught) -> None:
    run_dir, settings = taught
    plain = replace(settings, augment=replace(settings.augment, vocal_tract_warp=0.0))
    [stored] = student_jobs(plain)
    [live] = student_jobs(replace(plain, distil=replace(plain.distil, teacher=named("teacher", "live"))))
    assert "posteriors" in live.artifacts()  # which says what is silence
    numbers = torch.tensor([-1, -2]) + len(stored.data.open(run_dir, stored).examples)
    found = []
    for job in (stored, live):
        examples = job.data.open(run_dir, job).examples
        batch = examples.batch(numbers)
        assert examples.teacher is not None
        targets = examples.teacher.answer(batch).targets
        assert targets is not None
        found.append(targets.dense_log_probs(1.0).exp())
    top = found[0].topk(3).indices  # of four that are kept: the tails may differ
    assert torch.allclose(found[0].gather(1, top), found[1].gather(1, top), atol=0.01)


def test_students_trained_as_one_draw_the_same_mixtures_as_alone(taught) -> None:
    run_dir, settings = taught
    two = replace(settings, distil=replace(settings.distil, students=2), batch_jobs="never")
    weights = {}
    for way in ("never", "always"):
        shutil.rmtree(run_dir / "distil", ignore_errors=True)
        distil(run_dir, replace(two, batch_jobs=way))
        weights[way] = [load_file(run_dir / "distil" / f"student-0{number}" / "model.safetensors") for number in (0, 1)]
    for alone, together in zip(weights["never"], weights["always"], strict=True):
        for name, tensor in alone.items():
            assert torch.allclose(tensor.float(), together[name].float(), atol=1e-3), name
