"""Timed words of an aligned transcript, and files of them for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.ctm import in_seconds
from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import SILENCE, without_position
from kd_asr.alignment.viterbi import BestPath


@dataclass(frozen=True)
class WordSegment:
    """A word with its frames.

    Attributes:
        word: Word, as in the transcript.
        start_frame: First frame.
        num_frames: Number of frames.
        posterior: Geometric mean over the frames of the posterior of the aligned state, 0..1; low for a word that was
            not said. It is not the probability that the word is right.
    """

    word: str
    start_frame: int
    num_frames: int
    posterior: float


def word_segments(
    path: BestPath, words: Sequence[str], log_posteriors: NDArray[np.float32]
) -> list[WordSegment]:
    """Timed words of a transcript; silence between them belongs to no word.

    Args:
        path: path through the graph of these words.
        words: the transcript.
        log_posteriors: (frames, pdfs) natural log-posteriors of the network that aligned them.
    """
    of_path = log_posteriors[np.arange(len(path.pdfs)), path.pdfs]
    segments = []
    for place, group in groupby(zip(path.words, path.phones, strict=True), key=lambda pair: pair[0]):
        if place >= 0:
            phones = [phone for _, phone in group]
            start, end = phones[0].start_frame, phones[-1].start_frame + phones[-1].num_frames
            posterior = float(np.exp(of_path[start:end].mean()))
            segments.append(WordSegment(words[place], start, end - start, posterior))
    return segments


def words_of_phones(
    phones: Sequence[PhoneSegment], words: Sequence[str], lexicon: Lexicon
) -> list[tuple[str, int, int]]:
    """(word, first frame, frames) of a transcript, from its aligned phones and the pronunciations.

    Empty if no choice of pronunciations gives these phones; among several, the first in the lexicon's order is taken.
    """
    spoken = [item for item in phones if item.phone != SILENCE]
    names = tuple(without_position(item.phone) for item in spoken)
    begins: list[list[int]] = [[0]]  # for every word, the phones at which it can begin
    for word in words:
        variants = _plain_variants(lexicon, word)
        reached = {
            begin + len(one) for begin in begins[-1] for one in variants if names[begin : begin + len(one)] == one
        }
        begins.append(sorted(reached))
    if len(spoken) not in begins[-1]:
        return []
    end, found = len(spoken), []
    for word, possible in zip(reversed(words), reversed(begins[:-1]), strict=True):
        begin = next(
            end - len(one)
            for one in _plain_variants(lexicon, word)
            if end - len(one) in possible and names[end - len(one) : end] == one
        )
        first, last = spoken[begin], spoken[end - 1]
        found.append((word, first.start_frame, last.start_frame + last.num_frames - first.start_frame))
        end = begin
    return found[::-1]


def _plain_variants(lexicon: Lexicon, word: str) -> list[tuple[str, ...]]:
    return [tuple(map(without_position, variant)) for variant in lexicon.variants(word)]


def write_text_grid(
    path: Path, tiers: dict[str, Sequence[tuple[str, float, float]]], seconds: float
) -> None:
    """Write a TextGrid of interval tiers, as Praat reads it (its long text format).

    Args:
        path: the file.
        tiers: name of each tier to its (label, start, end) intervals in seconds, in order and without overlaps; gaps
            between them become empty intervals.
        seconds: length of the audio.
    """
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {seconds:.6f}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, intervals) in enumerate(tiers.items(), start=1):
        filled = _without_gaps(intervals, seconds)
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{_quoted(name)}"']
        lines += ["        xmin = 0", f"        xmax = {seconds:.6f}", f"        intervals: size = {len(filled)}"]
        for place, (label, start, end) in enumerate(filled, start=1):
            lines += [f"        intervals [{place}]:", f"            xmin = {start:.6f}"]
            lines += [f"            xmax = {end:.6f}", f'            text = "{_quoted(label)}"']
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _quoted(text: str) -> str:
    return text.replace('"', '""')


def _without_gaps(intervals: Sequence[tuple[str, float, float]], seconds: float) -> list[tuple[str, float, float]]:
    filled: list[tuple[str, float, float]] = []
    here = 0.0
    for label, start, end in intervals:
        if start > here + 1e-9:
            filled.append(("", here, start))
        filled.append((label, max(start, here), end))
        here = end
    if seconds > here + 1e-9 or not filled:
        filled.append(("", here, seconds))
    return filled


def phones_in_time(phones: Sequence[PhoneSegment], frame_shift: float) -> list[tuple[str, float, float]]:
    """(phone of the dictionary, start, end) in seconds, as `ctm.in_seconds` times them."""
    return [(item.phone, item.start, item.start + item.duration) for item in in_seconds(phones, frame_shift)]


def words_in_time(words: Sequence[WordSegment], frame_shift: float) -> list[tuple[str, float, float]]:
    """(word, start, end) in seconds."""
    return [
        (item.word, item.start_frame * frame_shift, (item.start_frame + item.num_frames) * frame_shift)
        for item in words
    ]
