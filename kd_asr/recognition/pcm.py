"""Samples from a pipe: bare PCM of 16 bits, or a WAV file of it whose length need not be known."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from kd_asr.errors import UserError
from kd_asr.recognition.stream import CHUNK_SECONDS

_BYTES = 2
# Hz: what a damaged header says beyond would be read in blocks of gigabytes.
_RATES = 4000, 384_000
# How files begin that are no PCM.
_OTHERS = {
    b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\x1aE\xdf\xa3": "WebM", b"caff": "CAF", b"FORM": "AIFF",
    b"RF64": "RF64",
}  # fmt: skip
_HOW = "decode it first, for example with `ffmpeg -i FILE -f s16le -ac 1 -ar 16000 -`"


def pcm_blocks(
    source: BinaryIO, rate: int, channel: int | None = None
) -> tuple[int, Iterator[NDArray[np.float32]]]:
    """Sample rate of a stream, and its (samples,) float32 in -1..1 in blocks of `CHUNK_SECONDS`.

    Args:
        source: little-endian PCM of 16 bits with one channel, or WAV.
        rate: that of bare PCM, Hz; WAV tells its own.
        channel: of a WAV with several, the one that is used, counted from 1; None: the mean of all.

    Raises:
        UserError: the stream is neither, or has not this channel.
    """
    start = _read(source, 4)
    for magic, name in _OTHERS.items():
        if start.startswith(magic):
            raise UserError(f"standard input is {name}, not PCM or WAV: {_HOW}")
    channels = 1
    if start == b"RIFF":
        rate, channels = _wav_header(source)
        start = b""
    if channel is not None and channel > channels:
        raise UserError(f"--channel {channel}: the stream has {channels}")
    return rate, _blocks(source, start, rate, channels, channel)


def _blocks(
    source: BinaryIO, start: bytes, rate: int, channels: int, channel: int | None
) -> Iterator[NDArray[np.float32]]:
    size = max(1, round(rate * CHUNK_SECONDS)) * channels * _BYTES
    held = start
    while more := source.read(size - len(held)):
        held += more
        if len(held) >= size:
            yield _samples(held, channels, channel)
            held = b""
    whole = len(held) // (channels * _BYTES) * channels * _BYTES
    if whole:
        yield _samples(held[:whole], channels, channel)


def _samples(data: bytes, channels: int, channel: int | None) -> NDArray[np.float32]:
    frames = np.frombuffer(data, dtype="<i2").reshape(-1, channels).astype(np.float32) / np.float32(32768)
    return np.ascontiguousarray(frames.mean(axis=1) if channel is None else frames[:, channel - 1])


def _wav_header(source: BinaryIO) -> tuple[int, int]:
    """Rate and channels of a WAV whose first four bytes have been read; the samples come next."""
    if _read(source, 8)[4:] != b"WAVE":
        raise UserError(f"standard input begins like a WAV, but is none: {_HOW}")
    found: tuple[int, int] | None = None
    while len(head := _read(source, 8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            break
        content = _read(source, min(size, 64))
        _skip(source, size + size % 2 - len(content))
        if name == b"fmt " and len(content) >= 16:
            kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
            # 0xFFFE: the kind is in an extension, which only tells PCM of more than two channels apart from others.
            if kind not in (1, 0xFFFE) or bits != 16 or not channels:
                raise UserError(f"standard input is a WAV of another kind than PCM of 16 bits: {_HOW}")
            if not _RATES[0] <= rate <= _RATES[1]:
                raise UserError(f"standard input is a WAV of {rate} Hz, not of {_RATES[0]} to {_RATES[1]}: {_HOW}")
            found = rate, channels
    else:
        found = None
    if found is None:
        raise UserError(f"standard input is a WAV without samples: {_HOW}")
    return found


def _skip(source: BinaryIO, size: int) -> None:
    while size > 0 and (more := source.read(min(size, 1 << 16))):
        size -= len(more)


def _read(source: BinaryIO, size: int) -> bytes:
    """So many bytes, or fewer at the end."""
    parts = b""
    while len(parts) < size and (more := source.read(size - len(parts))):
        parts += more
    return parts
