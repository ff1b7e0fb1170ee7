"""Timed phones as CTM, the text format of Kaldi and others: `utterance channel start duration phone`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import without_position
from kd_asr.errors import UserError


@dataclass(frozen=True)
class TimedPhone:
    """A phone in time: start and duration in seconds."""

    phone: str
    start: float
    duration: float


def in_seconds(segments: Sequence[PhoneSegment], frame_shift: float) -> list[TimedPhone]:
    """Segments in the phones of the dictionary, as Kaldi times them: frame `n` begins at `n * frame_shift` seconds."""
    return [
        TimedPhone(without_position(item.phone), item.start_frame * frame_shift, item.num_frames * frame_shift)
        for item in segments
    ]


def write_ctm(path: Path, utterances: Iterable[tuple[str, Sequence[TimedPhone]]]) -> None:
    """Write the phones of (utterance id, phones) pairs, times to the millisecond, channel 1."""
    with path.open("w", encoding="utf-8") as file:
        for utterance_id, phones in utterances:
            for item in phones:
                file.write(f"{utterance_id} 1 {item.start:.3f} {item.duration:.3f} {item.phone}\n")


def read_ctm(path: Path) -> dict[str, list[TimedPhone]]:
    """Phones of every utterance id, in order of time; a sixth field (confidence) is ignored.

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
                    utterance_id, _, start, duration, phone = fields[:5]
                    item = TimedPhone(phone, float(start), float(duration))
                except ValueError:
                    item = TimedPhone("", math.nan, math.nan)
                if not (0 <= item.start < math.inf and 0 <= item.duration < math.inf):
                    raise UserError(f"{path}, line {number}: not `utterance channel start duration phone`: {line!r}")
                found.setdefault(utterance_id, []).append(item)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as CTM: {error}") from error
    return {name: sorted(phones, key=lambda item: item.start) for name, phones in found.items()}
