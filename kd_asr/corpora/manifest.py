"""What the toolkit knows of a corpus: one record per utterance, written as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from kd_asr.errors import UserError
from kd_asr.text import table_line

# Trained on, chosen on, and read once at the end.
SETS = ("train", "dev", "test")


@dataclass(frozen=True)
class Utterance:
    """One utterance of a corpus.

    Attributes:
        utterance_id: unique in the corpus, for example `84-121123-0001`.
        speaker_id: features are normalised, and sets are kept apart, by speaker.
        chapter_id: the recording session.
        audio_path: absolute path of a file that soundfile reads, or `archive.ark:1234`, a WAV file in a Kaldi archive.
        sample_rate: Hz, of the file.
        num_samples: length of the utterance in samples, at `sample_rate`.
        words: the transcript, upper case as in LibriSpeech.
        first_sample: where the utterance begins in its file, of which it is a part; None: it is the whole file.
    """

    utterance_id: str
    speaker_id: str
    chapter_id: str
    audio_path: str
    sample_rate: int
    num_samples: int
    words: tuple[str, ...]
    first_sample: int | None = None

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate


@dataclass(frozen=True)
class Rejected:
    """An utterance that was left out, and why; `stage` names who left it out."""

    utterance_id: str
    path: str
    reason: str
    stage: str


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write one JSON object per line, in the order given; `first_sample` only of parts of files."""
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for utterance in utterances:
            fields = asdict(utterance)
            if utterance.first_sample is None:
                del fields["first_sample"]
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")


def read_manifest(path: Path) -> list[Utterance]:
    """Read what `write_manifest` wrote; a malformed line is a `UserError` that names file and line."""
    utterances = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                fields = json.loads(line)
                fields["words"] = tuple(fields["words"])
                utterances.append(_checked(Utterance(**fields)))
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise UserError(f"{path}, line {number}: not an utterance record ({error})") from error
    return utterances


def _checked(item: Utterance) -> Utterance:
    """The utterance itself.

    Raises:
        ValueError: a field is of another type than it should be, or a number is out of its range.
    """
    texts = (item.utterance_id, item.speaker_id, item.chapter_id, item.audio_path, *item.words)
    first = 0 if item.first_sample is None else item.first_sample
    numbers = (item.sample_rate, item.num_samples, first)
    if not all(type(text) is str for text in texts) or not all(type(number) is int for number in numbers):
        raise ValueError("a field of another type")
    if item.sample_rate <= 0 or item.num_samples <= 0 or first < 0:
        raise ValueError("a number out of its range")
    return item


def write_rejected(path: Path, rejected: Iterable[Rejected]) -> None:
    """Write the utterances left out as a tab-separated table with a header line."""
    with path.open("w", encoding="utf-8") as file:
        file.write(table_line(("utterance_id", "path", "reason", "stage")))
        for entry in rejected:
            file.write(table_line((entry.utterance_id, entry.path, entry.reason, entry.stage)))
