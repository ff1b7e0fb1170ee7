"""Audio files, read with every guard: the one reader for corpora, training, `transcribe` and `align-files`.

libsndfile repairs the length of a truncated WAV file, believes what a header claims, and cannot say everything of every
format; what it lets pass is found here, and each fault is one reason in a few words.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

# A signal none of whose samples reaches this level (full scale is 1; this is -60 dB) holds no speech.
SILENCE_LEVEL = 1e-3
# Below this rate the filterbank would have to be fed with frequencies that were never recorded.
MIN_SAMPLE_RATE = 8000
MAX_SAMPLE_RATE = 768_000
# Float files may hold 16-bit integers; what is louder is no sound.
LOUDEST = 65536.0
# Where one of n channels has sound, their mean has an nth of its amplitude; less than this part of that is left only
# where channels cancel out. In tenths of a second that have a tenth of the energy it is too much.
LEAST_SHARE = 0.3
MOST_CANCELLED = 0.1
BLOCK_FRAMES = 1 << 18
# libsndfile reports the largest number there is where a header lacks the length, as that of a FLAC written to a pipe.
UNKNOWN_LENGTH = 1 << 48
# What ffmpeg, sox and others write for the length of a WAV file that goes into a pipe.
_STREAMED = 0x7FFF_0000
_CUT_DATA = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_CUT_RF64 = re.compile(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
_OGG_PAGE = b"OggS"
_LAST_PAGE = 0x04
_LONGEST_OGG_PAGE = 27 + 255 + 255 * 255
_IN_ARCHIVE = re.compile(r"(.+\.ark):([0-9]+)")
_RIFF_HEADER_BYTES = 8
_LONGEST_RIFF = 0x7FFF_FFFF


class UnusableAudio(Exception):
    """Audio that cannot be used; the message is the reason, without the name of the file."""


@dataclass(frozen=True)
class Sound:
    """What a file holds.

    Attributes:
        rate: samples a second.
        samples: of each channel.
        channels: their number.
        peak: of the chosen channel, or of the mean of all.
    """

    rate: int
    samples: int
    channels: int
    peak: float


def file_of(audio_path: str) -> tuple[str, int | None]:
    """File of an audio path, and the byte where `archive.ark:1234`, a WAV file within a Kaldi archive, begins."""
    found = _IN_ARCHIVE.fullmatch(audio_path)
    return (found[1], int(found[2])) if found else (audio_path, None)


@contextmanager
def open_sound(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """The opened audio of a path, which may be `archive.ark:1234`, with a header that makes sense.

    Raises:
        UnusableAudio: the file is none, or not audio with a header, or cut short, or has a rate that is not one of
            speech; an archive holds no WAV file at this place.
    """
    name, start = file_of(str(path))
    try:
        status = Path(name).stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnusableAudio("not a file" if stat.S_ISDIR(status.st_mode) else "not a regular file")
        if status.st_size == 0:
            raise UnusableAudio("empty file")
        # By its number: libsndfile would take the name to be UTF-8, and `.raw` for a format.
        number = os.open(name, os.O_RDONLY)
        try:
            source = number if start is None else _wav_in_archive(number, start)
            with soundfile.SoundFile(source, closefd=False) as file:
                _check_header(file)
                if file.format == "OGG":
                    _check_last_page(name, status.st_size)
                yield file
        finally:
            os.close(number)
    except (soundfile.LibsndfileError, OSError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise UnusableAudio(f"unreadable audio: {_one_line(error)}") from error


def _wav_in_archive(number: int, start: int) -> io.BytesIO:
    """The WAV file that begins at a byte of an open archive."""
    with open(number, "rb", closefd=False) as archive:
        archive.seek(start)
        header = archive.read(_RIFF_HEADER_BYTES)
        length = int.from_bytes(header[4:], "little")
        if header[:4] != b"RIFF" or length > _LONGEST_RIFF:
            raise OSError(errno.EINVAL, f"no WAV file of known length at byte {start}")
        return io.BytesIO(header + archive.read(length))


def _check_header(file: soundfile.SoundFile) -> None:
    rate = file.samplerate
    if rate < MIN_SAMPLE_RATE:
        raise UnusableAudio(f"sample rate {rate} Hz is below {MIN_SAMPLE_RATE} Hz")
    if rate > MAX_SAMPLE_RATE:
        raise UnusableAudio(f"sample rate {rate} Hz is above {MAX_SAMPLE_RATE} Hz")
    if file.frames > UNKNOWN_LENGTH:
        raise UnusableAudio("its header does not tell its length: encode the file again")
    cut = _CUT_DATA.search(file.extra_info)
    if cut and int(cut[2]) < int(cut[1]) < _STREAMED:
        raise UnusableAudio(f"truncated audio: {cut[2]} of {cut[1]} bytes")
    cut = _CUT_RF64.search(file.extra_info)
    if cut and int(cut[1]) < int(cut[2]) < UNKNOWN_LENGTH:
        raise UnusableAudio(f"truncated audio: {cut[1]} of {cut[2]} samples")


def _check_last_page(name: str, size: int) -> None:
    """An Ogg file ends with a page that says so."""
    with Path(name).open("rb") as raw:
        raw.seek(max(0, size - _LONGEST_OGG_PAGE))
        end = raw.read()
    last = end.rfind(_OGG_PAGE)
    if last < 0 or len(end) < last + 6 or not end[last + 5] & _LAST_PAGE:
        raise UnusableAudio("truncated audio: its last page is missing")


def go_to(file: soundfile.SoundFile, first_sample: int) -> None:
    """Seek the place where a part of a file begins.

    Raises:
        UnusableAudio: the file ends before, is damaged, or cannot be sought in.
    """
    if not file.seekable():
        raise UnusableAudio(f"a part of it cannot be found in {file.subtype}: encode the file as FLAC")
    try:
        file.seek(first_sample)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise UnusableAudio(f"unreadable audio: {_one_line(error)}") from error


def mono_blocks(
    file: soundfile.SoundFile, channel: int | None = None, num_samples: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """The samples of a file, from where it stands, in blocks, (samples,) float32.

    Args:
        file: opened by `open_sound`, at its beginning or sought to another place.
        channel: the one that is used, counted from 1; None: the mean of all.
        num_samples: of the part that is read; None: up to the end.

    Raises:
        UnusableAudio: there are fewer samples than announced or asked for, or fewer channels, one sample is not finite
            or louder than any sound, or the channels cancel out.
    """
    if channel is not None and not 1 <= channel <= file.channels:
        raise UnusableAudio(f"it has {file.channels} channels, and no channel {channel}")
    # What cannot be sought in has a header that may round its length.
    expected = file.frames - file.tell() if num_samples is None and file.seekable() else num_samples
    decoded, all_energy, cancelled = 0, 0.0, 0.0
    while num_samples is None or decoded < num_samples:
        wanted = BLOCK_FRAMES if num_samples is None else min(BLOCK_FRAMES, num_samples - decoded)
        try:
            block = file.read(wanted, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise UnusableAudio(f"unreadable audio: {_one_line(error)}") from error
        if not len(block):
            break
        decoded += len(block)
        peak = float(np.max(np.abs(block)))
        if not np.isfinite(peak):
            raise UnusableAudio("audio holds samples that are not finite")
        if peak > LOUDEST:
            raise UnusableAudio(f"audio holds samples of {peak:.3g} times full scale")
        if channel is not None:
            mono = np.ascontiguousarray(block[:, channel - 1])
        else:
            mono = block[:, 0] if file.channels == 1 else block.mean(axis=1, dtype=np.float32)
            if file.channels > 1:
                loudest, lost = _energies(block, mono, file.samplerate)
                all_energy += loudest
                cancelled += lost
        yield mono
    if expected is not None and decoded != expected:
        raise UnusableAudio(f"truncated audio: {decoded} of {expected} samples")
    if cancelled > MOST_CANCELLED * all_energy:
        raise UnusableAudio("its channels cancel out where they are mixed (opposite phase): use one of them")


def _energies(block: NDArray[np.float32], mono: NDArray[np.float32], rate: int) -> tuple[float, float]:
    """Energy of the loudest channel in each tenth of a second of a block, and in those where the mean has too little.

    Args:
        block: (samples, channels).
        mono: (samples,) mean of the channels.
        rate: samples in a second.
    """
    starts = np.arange(0, len(block), rate // 10)
    of_channels = np.add.reduceat(np.square(block, dtype=np.float64), starts, axis=0).max(axis=1)
    of_mean = np.add.reduceat(np.square(mono, dtype=np.float64), starts)
    lost = of_mean < (LEAST_SHARE / block.shape[1]) ** 2 * of_channels
    return float(of_channels.sum()), float(of_channels[lost].sum())


def measure(
    file: soundfile.SoundFile,
    channel: int | None = None,
    num_samples: int | None = None,
    listener: Callable[[NDArray[np.float32], int], None] | None = None,
) -> Sound:
    """Decode a file or a part of it; arguments and errors are those of `mono_blocks`. `listener` is given each block
    and its sample rate."""
    samples, peak = 0, 0.0
    for block in mono_blocks(file, channel, num_samples):
        if listener is not None:
            listener(block, file.samplerate)
        samples += len(block)
        peak = max(peak, float(np.max(np.abs(block))))
    return Sound(file.samplerate, samples, file.channels, peak)


def _one_line(error: Exception) -> str:
    """The library's own words, without the path, which is named already."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return text.rsplit(": ", maxsplit=1)[-1] if ": " in text else text
