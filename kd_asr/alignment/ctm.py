"""Timed phones as CTM, the text format of Kaldi and others: `utterance channel start duration phone`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import without_position
from kd_asr.corpora.text_files import decimal
from kd_asr.errors import UserError

_MOST_FIELDS = 8


@dataclass(frozen=True)
class TimedPhone:
    """A phone or a word in time: start and duration in seconds, and how sure it is, 0..1, if that is known."""

    phone: str
    start: float
    duration: float
    confidence: float | None = None


def in_seconds(segments: Sequence[PhoneSegment], frame_shift: float) -> list[TimedPhone]:
    """Segments in the phones of the dictionary, as Kaldi times them: frame `n` begins at `n * frame_shift` seconds."""
    return [
        TimedPhone(without_position(item.phone), item.start_frame * frame_shift, item.num_frames * frame_shift)
        for item in segments
    ]


def write_ctm(path: Path, utterances: Iterable[tuple[str, Sequence[TimedPhone]]]) -> None:
    """Write the phones of (utterance id, phones) pairs, times to the millisecond, channel 1.

    What would make other fields or lines of an id (white space, characters that are not printed) becomes `_`.
    """
    with path.open("w", encoding="utf-8") as file:
        for utterance_id, phones in utterances:
            name = _field(utterance_id)
            for item in phones:
                confidence = "" if item.confidence is None else f" {item.confidence:.4f}"
                file.write(f"{name} 1 {item.start:.3f} {item.duration:.3f} {item.phone}{confidence}\n")


def _field(text: str) -> str:
    plain = "".join(letter if letter.isprintable() and not letter.isspace() else "_" for letter in text)
    return f"_{plain[1:]}" if plain.startswith(";;") or not plain else plain


def read_ctm(path: Path) -> dict[str, list[TimedPhone]]:
    """Phones of every utterance id, in order of time; fields after the phone (confidence, type, speaker) are ignored.

    Raises:
        UserError: the file cannot be read, or a line is malformed (it is named).
    """
    found: dict[str, list[TimedPhone]] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                fields = line.split()
                if not fields or line.startswith(";;"):
                    continue
                try:
                    if len(fields) > _MOST_FIELDS:
                        raise ValueError
                    utterance_id, _, start, duration, phone = fields[:5]
                    item = TimedPhone(phone, decimal(start), decimal(duration))
                except ValueError:
                    item = TimedPhone("", math.nan, math.nan)
                if not (0 <= item.start < math.inf and 0 <= item.duration < math.inf):
                    raise UserError(f"{path}, line {number}: not `utterance channel start duration phone`: {line!r}")
                found.setdefault(utterance_id, []).append(item)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as CTM: {error}") from error
    return {name: sorted(phones, key=lambda item: item.start) for name, phones in found.items()}
