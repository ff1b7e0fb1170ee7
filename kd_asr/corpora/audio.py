"""Whether the audio of a corpus can be used: files and segments of files, decoded from end to end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import soundfile

from kd_asr.corpora.copies import Listener
from kd_asr.corpora.sound import SILENCE_LEVEL, UnusableAudio, go_to, measure, open_sound

# Segments may end so much after their recording and are cut there, as by Kaldi's extract-segments.
MOST_OVERSHOOT_SECONDS = 0.5


def check_audio(
    path: str | Path, min_seconds: float, max_seconds: float, listener: Listener | None = None
) -> tuple[int, int] | str:
    """(sample rate, samples) of a file that was decoded from end to end, or the reason why it cannot be used.

    Any number of channels will do: the stage `features` averages them. A listener hears what is decoded.
    """
    try:
        with open_sound(path) as file:
            reason = _length_fault(file.frames, file.samplerate, min_seconds, max_seconds)
            return reason or _decode(file, listener=listener)
    except UnusableAudio as error:
        return str(error)


def check_segments(
    path: str | Path,
    segments: Sequence[tuple[float, float | None]],
    min_seconds: float,
    max_seconds: float,
    listeners: Sequence[Listener] = (),
) -> list[tuple[int, int, int] | str]:
    """(sample rate, first sample, samples) of each segment of a recording, or the reason why it cannot be used.

    Args:
        path: of the recording.
        segments: (start, end) in seconds; end None: that of the recording.
        min_seconds: shorter segments cannot be used.
        max_seconds: longer ones cannot.
        listeners: one hears each segment; empty: nobody does.
    """
    try:
        with open_sound(path) as file:
            return [
                _check_segment(file, segment, min_seconds, max_seconds, listener)
                for segment, listener in zip_longest(segments, listeners)
            ]
    except UnusableAudio as error:
        return [str(error)] * len(segments)


def _check_segment(
    file: soundfile.SoundFile,
    segment: tuple[float, float | None],
    min_seconds: float,
    max_seconds: float,
    listener: Listener | None,
) -> tuple[int, int, int] | str:
    start, end = segment
    rate, total = file.samplerate, file.frames
    if not math.isfinite(start * rate) or not math.isfinite((end or 0.0) * rate):
        return f"segment without length: from {start} to {end} s"
    first = round(start * rate)
    last = total if end is None else round(end * rate)
    if first < 0 or last <= first:
        return f"segment without length: from {start:g} to {end if end is not None else total / rate:g} s"
    if first >= total or last > total + MOST_OVERSHOOT_SECONDS * rate:
        return f"segment beyond its recording: it ends at {last / rate:g} s, the recording at {total / rate:g} s"
    samples = min(last, total) - first
    reason = _length_fault(samples, rate, min_seconds, max_seconds)
    if reason:
        return reason
    try:
        go_to(file, first)
        found = _decode(file, samples, listener)
    except UnusableAudio as error:
        return str(error)
    return found if isinstance(found, str) else (rate, first, samples)


def _length_fault(samples: int, rate: int, min_seconds: float, max_seconds: float) -> str:
    if samples < min_seconds * rate:
        return f"shorter than prepare.min_seconds = {min_seconds:g}"
    if samples > max_seconds * rate:
        return f"longer than prepare.max_seconds = {max_seconds:g}"
    return ""


def _decode(
    file: soundfile.SoundFile, samples: int | None = None, listener: Listener | None = None
) -> tuple[int, int] | str:
    """(sample rate, samples) of the next samples of a file, or why they are no speech."""
    sound = measure(file, num_samples=samples, listener=listener.accept if listener is not None else None)
    return (sound.rate, sound.samples) if sound.peak >= SILENCE_LEVEL else "silence only"
