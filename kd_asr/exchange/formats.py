"""Writers of the formats that other programs read: Kaldi's archives, .npz, and lhotse's manifests."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kd_asr.corpora.manifest import Utterance
from kd_asr.corpora.sound import UnusableAudio, file_of, open_sound
from kd_asr.errors import UserError

# (label, start, end) in seconds from the beginning of the utterance.
Interval = tuple[str, float, float]


class Arrays(Protocol):
    """A file that takes one array after the other."""

    def __call__(self, utterance_id: str, array: NDArray[Any], /) -> None:
        """Add the array of an utterance."""
        ...


@contextmanager
def npz_file(path: Path) -> Iterator[Arrays]:
    """An .npz file, written array by array, so that no more than one is in memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:

        def add(utterance_id: str, array: NDArray[Any]) -> None:
            with archive.open(f"{utterance_id}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)

        yield add


@contextmanager
def kaldi_archive(path: Path) -> Iterator[Arrays]:
    """Kaldi's `path`.ark and, with the place of every array in it, `path`.scp.

    Raises:
        UserError: kaldiio is not installed.
    """
    try:
        from kaldiio import WriteHelper
    except ImportError as error:
        raise UserError("Kaldi's archives are written by kaldiio, which is missing: pip install kaldiio") from error
    with WriteHelper(f"ark,scp:{path.absolute()}.ark,{path.absolute()}.scp") as writer:
        yield writer


@contextmanager
def lhotse_manifests(folder: Path, set_name: str) -> Iterator[LhotseWriter]:
    """`SET_recordings.jsonl.gz` and `SET_supervisions.jsonl.gz`, which lhotse and `--corpus lhotse` read."""
    names = [folder / f"{set_name}_{what}.jsonl.gz" for what in ("recordings", "supervisions")]
    with gzip.open(names[0], "wt", encoding="utf-8") as first, gzip.open(names[1], "wt", encoding="utf-8") as second:
        yield LhotseWriter(first, second)


class LhotseWriter:
    """Writes recordings, each once, and supervisions with timed words and phones."""

    def __init__(self, recordings: Any, supervisions: Any) -> None:
        self._recordings, self._supervisions = recordings, supervisions
        self._seen: set[str] = set()

    def add(self, item: Utterance, tiers: Mapping[str, Sequence[Interval]]) -> None:
        """Add an utterance; tiers such as `word` and `phone` become its alignments.

        Raises:
            UserError: its audio is no file by itself, or cannot be read any more.
        """
        if file_of(item.audio_path)[1] is not None:
            raise UserError(f"{item.audio_path}: lhotse cannot name WAV files within a Kaldi archive")
        whole = item.first_sample is None
        recording = item.utterance_id if whole else Path(item.audio_path).stem
        if recording not in self._seen:
            self._seen.add(recording)
            self._recordings.write(json.dumps(_recording(recording, item), ensure_ascii=False) + "\n")
        start = (item.first_sample or 0) / item.sample_rate
        entry = {
            "id": item.utterance_id,
            "recording_id": recording,
            "start": round(start, 8),
            "duration": round(item.seconds, 8),
            "channel": 0,
            "text": " ".join(item.words),
            "speaker": item.speaker_id,
            "alignment": {
                name: [[label, round(start + begin, 4), round(end - begin, 4)] for label, begin, end in intervals]
                for name, intervals in tiers.items()
            },
        }
        self._supervisions.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _recording(name: str, item: Utterance) -> dict[str, Any]:
    try:
        with open_sound(item.audio_path) as file:
            frames, rate, channels = file.frames, file.samplerate, list(range(file.channels))
    except UnusableAudio as error:
        raise UserError(f"{item.audio_path} cannot be read any more: {error}") from error
    return {
        "id": name,
        "sources": [{"type": "file", "channels": channels, "source": item.audio_path}],
        "sampling_rate": rate,
        "num_samples": frames,
        "duration": frames / rate,
        "channel_ids": channels,
    }
