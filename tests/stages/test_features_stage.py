from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import make_prepared

from kd_asr.features.frames import log_mel, read_audio
from kd_asr.features.store import FrameStore
from kd_asr.stages.features import features


def rejected(path: Path) -> dict[str, str]:
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return {row[0]: row[2] for row in rows}


def test_frames_are_normalised_per_speaker_and_all_there(run_dir, settings, utterances) -> None:
    make_prepared(run_dir, utterances)
    made = features(run_dir, settings)
    store = FrameStore.open(made.path / "train")
    assert store.utterance_ids == [item.utterance_id for item in utterances["train"]]
    for speaker in ("00", "01"):
        ids = [item.utterance_id for item in utterances["train"] if item.speaker_id == speaker]
        frames = np.concatenate([store.frames(name) for name in ids])
        assert np.abs(frames.mean(axis=0)).max() < 2e-3
        assert np.abs(frames.std(axis=0) - 1).max() < 2e-3
    item = utterances["train"][0]
    raw = log_mel(read_audio(item.audio_path, 16000), settings.features)
    correlation = np.corrcoef(raw[:, 7], store.frames(item.utterance_id)[:, 7])[0, 1]
    assert correlation > 0.9999


def test_the_number_of_jobs_changes_no_bit(tmp_path, settings, utterances) -> None:
    contents = []
    for jobs in (1, 2):
        folder = tmp_path / f"run{jobs}"
        folder.mkdir()
        make_prepared(folder, utterances)
        made = features(folder, replace(settings, jobs=jobs))
        contents.append((made.path / "train" / "frames.f16").read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", "unreadable audio"),
        ("truncated", "unreadable audio|changed since it was prepared"),
        ("other", "changed since it was prepared"),
        ("nan", "not finite"),
    ],
)
def test_a_bad_file_is_listed_and_the_run_goes_on(run_dir, settings, utterances, damage: str, reason: str) -> None:
    import re

    make_prepared(run_dir, utterances)
    bad = utterances["train"][1]
    path = Path(bad.audio_path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "other":
        soundfile.write(path, np.zeros(16000), 16000)
    else:
        samples = np.full(bad.num_samples, np.nan, dtype=np.float32)
        path.unlink()
        soundfile.write(path, samples, 16000, format="WAV", subtype="FLOAT")
    made = features(run_dir, settings)
    listed = rejected(made.path / "rejected.tsv")
    assert list(listed) == [bad.utterance_id]
    assert re.search(reason, listed[bad.utterance_id])
    assert bad.utterance_id not in FrameStore.open(made.path / "train").utterance_ids
    assert made.metrics["rejected"] == 1
    assert made.metrics["train"]["utterances"] == 3


def test_shorter_than_a_frame_is_listed(run_dir, settings, utterances) -> None:
    short = replace(utterances["dev"][0], num_samples=399)
    make_prepared(run_dir, {**utterances, "dev": [short, *utterances["dev"][1:]]})
    made = features(run_dir, settings)
    assert rejected(made.path / "rejected.tsv") == {short.utterance_id: "shorter than one frame"}
