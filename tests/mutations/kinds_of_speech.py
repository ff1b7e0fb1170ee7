"""Audio files and corpora: sound ones, and how the program reads them.

A reader here ends in `UserError` or `UnusableAudio`, or returns; then it has checked that what was read makes sense.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from kd_asr.corpora.base import Corpus, listings
from kd_asr.corpora.folder import Folder, FolderSettings
from kd_asr.corpora.kaldi import Kaldi, KaldiSettings
from kd_asr.corpora.lhotse import Lhotse, LhotseSettings
from kd_asr.corpora.librispeech import list_subset
from kd_asr.corpora.manifest import read_manifest, write_manifest
from kd_asr.corpora.scan import scan
from kd_asr.corpora.spelling import is_text
from kd_asr.corpora.table import Table, TableSettings
from kd_asr.features.frames import frames_of_file, num_frames
from kd_asr.features.settings import FeatureSettings

FEATURES = FeatureSettings(num_mel_bins=10)
RATE = 16000


@dataclass(frozen=True)
class Kind:
    """A kind of file: `write` makes sound ones in a folder, `read` reads them; `damaged` are those to be damaged."""

    write: Callable[[Path], None]
    damaged: tuple[str, ...]
    read: Callable[[Path], None]


def samples(seconds: float = 0.4) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(int(seconds * RATE))


def audio(name: str, **options: str) -> Kind:
    def read(folder: Path) -> None:
        found = frames_of_file(folder / name, FEATURES)
        assert np.isfinite(found.frames).all() and found.seconds < 60
        with soundfile.SoundFile(folder / name) as file:
            counted = num_frames(round(found.seconds * file.samplerate), file.samplerate, FEATURES)
        assert len(found.frames) == counted

    return Kind(lambda folder: soundfile.write(folder / name, samples(), RATE, **options), (name,), read)


def scanned(corpus: Corpus | None, folder: Path) -> None:
    """Every utterance of a corpus is used or rejected; what is used is whole."""
    listed = listings(corpus)["train"] if corpus else list_subset(folder, "train")
    found = scan([listed], min_seconds=0.1, max_seconds=40, jobs=1)[0]
    for entry in found.rejected:
        assert "\n" not in entry.reason
    for item in found.utterances:
        assert item.words == tuple(" ".join(item.words).split()) and all(map(is_text, item.words))
        assert item.sample_rate >= 8000 and 0.1 <= item.seconds <= 0.5
        assert item.utterance_id.isprintable() and item.speaker_id.isprintable() and item.speaker_id
    write_manifest(folder / "read.jsonl", found.utterances)
    assert read_manifest(folder / "read.jsonl") == found.utterances


def speech(folder: Path) -> dict[str, Path]:
    """Four audio files of two speakers."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{speaker}-1-000{index}" for speaker in (1, 2) for index in (0, 1)]
    paths = {name: folder / f"{name}.wav" for name in names}
    for path in paths.values():
        soundfile.write(path, samples(), RATE)
    return paths


def librispeech() -> Kind:
    def write(folder: Path) -> None:
        speech(folder / "train" / "1" / "1")
        (folder / "train/1/1/1-1.trans.txt").write_text("1-1-0000 ONE TWO\n1-1-0001 DON'T THREE\n", encoding="utf-8")

    return Kind(write, ("train/1/1/1-1.trans.txt", "train/1/1/1-1-0000.wav"), lambda folder: scanned(None, folder))


def kaldi() -> Kind:
    def write(folder: Path) -> None:
        paths = speech(folder / "audio")
        data = folder / "data"
        data.mkdir()
        tables = {
            "wav.scp": [f"r{name} {path.relative_to(folder)}" for name, path in paths.items()],
            "segments": [f"{name} r{name} 0.05 0.35" for name in paths],
            "text": [f"{name} one [noise] 25" for name in paths],
            "utt2spk": [f"{name} {name[0]}" for name in paths],
        }
        for name, lines in tables.items():
            (data / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    files = tuple(f"data/{name}" for name in ("wav.scp", "segments", "text", "utt2spk"))
    return Kind(write, files, lambda folder: scanned(Kaldi(KaldiSettings(train=str(folder / "data"))), folder))


def lhotse() -> Kind:
    def write(folder: Path) -> None:
        paths = speech(folder / "audio")
        recordings, supervisions = [], []
        for name, path in paths.items():
            source = {"type": "file", "channels": [0], "source": str(path.relative_to(folder))}
            common = {"duration": 0.4, "channel_ids": [0]}
            recordings.append({"id": name, "sources": [source], "sampling_rate": RATE, "num_samples": 6400, **common})
            times = {"start": 0.05, "duration": 0.3, "channel": 0}
            supervisions.append({"id": name, "recording_id": name, **times, "text": "one two", "speaker": name[0]})
        for name, entries in (("recordings", recordings), ("supervisions", supervisions)):
            lines = "".join(json.dumps(entry) + "\n" for entry in entries)
            (folder / f"my_{name}.jsonl").write_text(lines, encoding="utf-8")

    settings = LhotseSettings()
    return Kind(
        write,
        ("my_recordings.jsonl", "my_supervisions.jsonl"),
        lambda folder: scanned(
            Lhotse(type(settings)(train=str(folder / "my_supervisions.jsonl"), audio_root=str(folder))), folder
        ),
    )


def table(name: str) -> Kind:
    def write(folder: Path) -> None:
        rows: list[Mapping[str, Any]] = [
            {"path": path.name, "sentence": "one, two", "client_id": key[0], "start": 0.05, "duration": 0.3}
            for key, path in speech(folder).items()
        ]
        if name.endswith(".jsonl"):
            text = "".join(json.dumps(row) + "\n" for row in rows)
        else:
            between = "\t" if name.endswith(".tsv") else ","
            text = "".join(
                between.join(f'"{value}"' if between == "," else str(value) for value in values) + "\n"
                for values in [list(rows[0]), *(row.values() for row in rows)]
            )
        (folder / name).write_text(text, encoding="utf-8")

    return Kind(write, (name,), lambda folder: scanned(Table(TableSettings(train=str(folder / name))), folder))


def beside() -> Kind:
    def write(folder: Path) -> None:
        for path in speech(folder / "train" / "1").values():
            path.with_suffix(".txt").write_text("Don\u2019t stop at 10:30 \u2014 [noise] $5.50\n", encoding="utf-8")

    settings = FolderSettings()
    return Kind(
        write,
        ("train/1/1-1-0000.txt", "train/1/1-1-0000.wav"),
        lambda folder: scanned(Folder(type(settings)(train=str(folder / "train"))), folder),
    )
