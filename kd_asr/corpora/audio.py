"""Audio files of a corpus: opened as soundfile does, or inside a Kaldi archive, and checked from end to end."""

from __future__ import annotations

import errno
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

# An utterance none of whose samples reaches this level (full scale is 1; this is -60 dB) holds no speech.
SILENCE_LEVEL = 1e-3
# Below this rate the filterbank would have to be fed with frequencies that were never recorded.
MIN_SAMPLE_RATE = 8000
BLOCK_FRAMES = 1 << 18
# libsndfile reports the largest number there is where a header lacks the length, as that of a FLAC written to a pipe.
UNKNOWN_LENGTH = 1 << 48
# Segments may end so much after their recording and are cut there, as by Kaldi's extract-segments.
MOST_OVERSHOOT_SECONDS = 0.5
_IN_ARCHIVE = re.compile(r"(.+\.ark):([0-9]+)")
_RIFF_HEADER_BYTES = 8
_LONGEST_RIFF = 0x7FFFFFFF


def file_of(audio_path: str) -> tuple[str, int]:
    """File and first byte of an audio path: `archive.ark:1234` is a WAV file within a Kaldi archive."""
    found = _IN_ARCHIVE.fullmatch(audio_path)
    return (found[1], int(found[2])) if found else (audio_path, 0)


def open_audio(audio_path: str | Path) -> soundfile.SoundFile:
    """The opened audio of a path, which may be `archive.ark:1234`; use it as a context.

    Raises:
        soundfile.LibsndfileError: the file is no audio, or is not there.
        OSError: an archive cannot be read, or holds no WAV file at this place.
    """
    file, offset = file_of(str(audio_path))
    if not _IN_ARCHIVE.fullmatch(str(audio_path)):
        return soundfile.SoundFile(file)
    with Path(file).open("rb") as archive:
        archive.seek(offset)
        header = archive.read(_RIFF_HEADER_BYTES)
        length = int.from_bytes(header[4:], "little")
        if header[:4] != b"RIFF" or length > _LONGEST_RIFF:
            raise OSError(errno.EINVAL, f"no WAV file of known length at byte {offset}")
        return soundfile.SoundFile(io.BytesIO(header + archive.read(length)))


def check_audio(path: str | Path, min_seconds: float, max_seconds: float) -> tuple[int, int] | str:
    """(sample rate, samples) of a file that was decoded from end to end, or the reason why it cannot be used.

    Any number of channels will do: the stage `features` averages them.
    """
    try:
        if Path(file_of(str(path))[0]).stat().st_size == 0:
            return "empty file"
        with open_audio(path) as file:
            reason = _header_fault(file) or _length_fault(file.frames, file.samplerate, min_seconds, max_seconds)
            return reason or _decode(file, file.frames) or (file.samplerate, file.frames)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        return f"unreadable audio: {_one_line(error)}"


def check_segments(
    path: str | Path, segments: Sequence[tuple[float, float | None]], min_seconds: float, max_seconds: float
) -> list[tuple[int, int, int] | str]:
    """(sample rate, first sample, samples) of each segment of a recording, or the reason why it cannot be used.

    Args:
        path: of the recording.
        segments: (start, end) in seconds; end None: that of the recording.
        min_seconds: shorter segments cannot be used.
        max_seconds: longer ones cannot.
    """
    try:
        if Path(file_of(str(path))[0]).stat().st_size == 0:
            return ["empty file"] * len(segments)
        with open_audio(path) as file:
            reason = _header_fault(file)
            if reason:
                return [reason] * len(segments)
            return [_check_segment(file, start, end, min_seconds, max_seconds) for start, end in segments]
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        return [f"unreadable audio: {_one_line(error)}"] * len(segments)


def _check_segment(
    file: soundfile.SoundFile, start: float, end: float | None, min_seconds: float, max_seconds: float
) -> tuple[int, int, int] | str:
    rate, total = file.samplerate, file.frames
    if not math.isfinite(start) or not math.isfinite(end or 0.0):
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
        file.seek(first)
        return _decode(file, samples) or (rate, first, samples)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        return f"unreadable audio: {_one_line(error)}"


def _header_fault(file: soundfile.SoundFile) -> str:
    if file.samplerate < MIN_SAMPLE_RATE:
        return f"sample rate {file.samplerate} Hz is below {MIN_SAMPLE_RATE} Hz"
    if file.frames > UNKNOWN_LENGTH:
        return "its header does not tell its length: encode the file again"
    return ""


def _length_fault(samples: int, rate: int, min_seconds: float, max_seconds: float) -> str:
    if samples < min_seconds * rate:
        return f"shorter than prepare.min_seconds = {min_seconds:g}"
    if samples > max_seconds * rate:
        return f"longer than prepare.max_seconds = {max_seconds:g}"
    return ""


def _decode(file: soundfile.SoundFile, samples: int) -> str:
    """What is wrong with the next samples of a file; empty: nothing."""
    decoded, peak = 0, 0.0
    for block in file.blocks(blocksize=BLOCK_FRAMES, frames=samples, dtype="float32"):
        decoded += len(block)
        # NaN and infinity both survive this sum; a maximum could lose the NaN.
        if not np.isfinite(np.sum(block, dtype=np.float64)):
            return "audio holds samples that are not finite"
        peak = max(peak, float(np.max(np.abs(block), initial=0.0)))
    if decoded != samples:
        return f"truncated audio: {decoded} of {samples} samples"
    return "silence only" if peak < SILENCE_LEVEL else ""


def _one_line(error: Exception) -> str:
    """The library's own words, without the path that the table of rejected utterances names already."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return text.rsplit(": ", maxsplit=1)[-1] if ": " in text else text
