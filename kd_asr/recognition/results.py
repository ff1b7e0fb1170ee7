"""What was found in a user's own audio, and the files it is written to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_asr.alignment.ctm import TimedPhone, write_ctm
from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.words import WordSegment, phones_in_time, words_in_time, write_text_grid
from kd_asr.decoding.nbest import Alternative
from kd_asr.errors import UserError
from kd_asr.text import shown


@dataclass(frozen=True)
class Timed:
    """What was found in one file.

    Attributes:
        file: the audio.
        seconds: its length.
        frame_shift: seconds from frame to frame.
        words: with their times in frames.
        phones: the same.
        doubts: what speaks against words that cannot be right, by their place.
        alternatives: word sequences, the cheapest first, if they were asked for.
    """

    file: Path
    seconds: float
    frame_shift: float
    words: tuple[WordSegment, ...]
    phones: tuple[PhoneSegment, ...]
    doubts: dict[int, str]
    alternatives: tuple[Alternative, ...] = ()


def check_results(files: Sequence[Path], out: Path, *, overwrite: bool) -> None:
    """Refuse, before the work, what could not be written after it.

    Raises:
        UserError: two files have the same name, or `out` cannot be written into or has results.
    """
    stems = [file.stem for file in files]
    for stem in stems:
        if stems.count(stem) > 1:
            raise UserError(
                f"two files are called {shown(stem)}, and their results would be too: align them one by one"
            )
    place = out.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        why = "cannot be written into" if place.is_dir() else "is not a folder"
        raise UserError(f"--out: {shown(place)} {why}: choose another folder")
    there = [path for stem in stems for path in (out / f"{stem}.TextGrid", out / f"{stem}.ctm") if path.exists()]
    if there and not overwrite:
        raise UserError(f"{shown(there[0])} is there already: --overwrite replaces it, --out names another folder")


def write_results(timed: Sequence[Timed], out: Path) -> None:
    """Write `<name>.TextGrid` and `<name>.ctm` of each file into the folder `out`, which is made if it is not there."""
    out.mkdir(parents=True, exist_ok=True)
    for item in timed:
        words_then = words_in_time(item.words, item.frame_shift)
        sure = [(f"{word.posterior:.2f}", *then[1:]) for word, then in zip(item.words, words_then, strict=True)]
        write_text_grid(
            out / f"{item.file.stem}.TextGrid",
            {"words": words_then, "phones": phones_in_time(item.phones, item.frame_shift), "confidence": sure},
            item.seconds,
        )
        as_ctm = [
            TimedPhone(label, start, end - start, word.posterior)
            for word, (label, start, end) in zip(item.words, words_then, strict=True)
        ]
        write_ctm(out / f"{item.file.stem}.ctm", [(item.file.stem, as_ctm)])
