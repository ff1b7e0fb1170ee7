"""A little speech, for the tests of all corpora to write down in their formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from kd_asr.corpora.manifest import SETS, Utterance

RATE = 16000


@dataclass(frozen=True)
class Spoken:
    """An utterance: its samples at 16 kHz and what is said."""

    utterance_id: str
    speaker: str
    text: str
    samples: np.ndarray

    def write(self, folder: Path, suffix: str = ".flac") -> Path:
        """Write an audio file of its name."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.utterance_id}{suffix}"
        soundfile.write(path, self.samples, RATE)
        return path


Speech = Mapping[str, Sequence[Spoken]]


def little_speech(speakers: int = 2) -> Speech:
    """Two utterances of each speaker of train, dev and test."""
    sets: dict[str, list[Spoken]] = {}
    for number, name in enumerate(SETS):
        sets[name] = []
        for speaker in range(10 * number + 10, 10 * number + 10 + speakers):
            for index in range(2):
                rng = np.random.default_rng([number, speaker, index])
                samples = 0.1 * rng.standard_normal(RATE // 2 + 100 * index + speaker)
                text = f"word {'abcdef'[speaker % 6]} don\u2019t"
                sets[name].append(Spoken(f"{speaker}-1-{index:04d}", str(speaker), text, samples))
    return sets


def essence(utterances: Sequence[Utterance]) -> list[tuple[object, ...]]:
    """What the manifests of all formats have in common."""
    return [(one.utterance_id, one.speaker_id, one.words, one.sample_rate, one.num_samples) for one in utterances]


def expected(speech: Sequence[Spoken]) -> list[tuple[object, ...]]:
    """The essence of what was spoken."""
    return [
        (one.utterance_id, one.speaker, tuple(one.text.upper().replace("\u2019", "'").split()), RATE, len(one.samples))
        for one in sorted(speech, key=lambda one: one.utterance_id)
    ]
