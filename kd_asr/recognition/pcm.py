"""Samples of a stream that comes in pieces: bare PCM of 16 bits, or a WAV file of it whose length need not be known."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from kd_asr.errors import UserError
from kd_asr.recognition.stream import CHUNK_SECONDS

_BYTES = 2
# Hz: what a damaged header says beyond would be waited for in blocks of gigabytes.
RATES = 4000, 384_000
# How files begin that are no PCM.
_OTHERS = {
    b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\x1aE\xdf\xa3": "WebM", b"caff": "CAF", b"FORM": "AIFF",
    b"RF64": "RF64",
}  # fmt: skip
_MAGIC = 4
_RIFF = 12  # bytes: `RIFF`, a length, `WAVE`
_FORMAT = 16  # bytes of `fmt ` that are read
_HOW = "decode it first, for example with `ffmpeg -i FILE -f s16le -ac 1 -ar 16000 -`"


class PcmReader:
    """From bytes to samples, in blocks of `CHUNK_SECONDS` however the bytes are cut.

    Attributes:
        rate: Hz; known when the first block is.
    """

    def __init__(self, rate: int, channel: int | None = None, *, name: str = "standard input") -> None:
        """Begin with a stream.

        Args:
            rate: that of bare PCM with one channel, Hz; WAV tells its own.
            channel: of a WAV with several, the one that is used, counted from 1; None: the mean of all.
            name: of the stream, in error messages.
        """
        self.rate = rate
        self._channel = channel
        self._name = name
        self._channels = 1
        self._held = b""
        self._skipped = 0  # bytes of the header that are still to be left out
        self._formatted = False  # whether the header has told rate and channels
        self._place = "start"

    def accept(self, data: bytes, *, last: bool = False) -> list[NDArray[np.float32]]:
        """Blocks of (samples,) float32 in -1..1 that these bytes complete; with `last` also what is left over.

        Raises:
            UserError: the stream is neither little-endian PCM of 16 bits nor WAV, or has not this channel.
        """
        self._held += data
        if self._place == "start" and (last or len(self._held) >= _MAGIC):
            self._look_at_start()
        if self._place == "riff" and (last or len(self._held) >= _RIFF):
            if self._held[8:_RIFF] != b"WAVE":
                raise UserError(f"{self._name} begins like a WAV, but is none: {_HOW}")
            self._held, self._place = self._held[_RIFF:], "header"
        if self._place == "header":
            self._read_header(last=last)
        if self._place != "samples":
            return []
        whole = self._channels * _BYTES
        size = max(1, round(self.rate * CHUNK_SECONDS)) * whole
        end = len(self._held) // size * size
        blocks = [self._samples(self._held[start : start + size]) for start in range(0, end, size)]
        rest = len(self._held) // whole * whole
        if last and rest > end:
            blocks.append(self._samples(self._held[end:rest]))
        self._held = self._held[end:]
        return blocks

    def _samples(self, data: bytes) -> NDArray[np.float32]:
        frames = np.frombuffer(data, dtype="<i2").reshape(-1, self._channels).astype(np.float32) / np.float32(32768)
        return np.ascontiguousarray(frames.mean(axis=1) if self._channel is None else frames[:, self._channel - 1])

    def _look_at_start(self) -> None:
        for magic, other in _OTHERS.items():
            if self._held.startswith(magic):
                raise UserError(f"{self._name} is {other}, not PCM or WAV: {_HOW}")
        self._place = "riff" if self._held.startswith(b"RIFF") else "samples"
        if self._place == "samples":
            self._check_channel()

    def _read_header(self, *, last: bool) -> None:
        """Read the parts of a WAV before its samples, as far as they have come."""
        without = f"{self._name} is a WAV without samples: {_HOW}"
        while True:
            left_out = min(self._skipped, len(self._held))
            self._held, self._skipped = self._held[left_out:], self._skipped - left_out
            if self._skipped or len(self._held) < 8:
                break
            kind, size = struct.unpack("<4sI", self._held[:8])
            if kind == b"data" and self._formatted:
                self._held, self._place = self._held[8:], "samples"
                self._check_channel()
                return
            if kind == b"data":
                raise UserError(without)
            if kind == b"fmt " and size >= _FORMAT:
                if len(self._held) < 8 + _FORMAT:
                    break
                self._read_format(self._held[8 : 8 + _FORMAT])
            self._skipped = 8 + size + size % 2
        if last:
            raise UserError(without)

    def _read_format(self, content: bytes) -> None:
        kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content)
        # 0xFFFE: the kind is in an extension, which only tells PCM of more than two channels apart from others.
        if kind not in (1, 0xFFFE) or bits != 8 * _BYTES or not channels:
            raise UserError(f"{self._name} is a WAV of another kind than PCM of 16 bits: {_HOW}")
        if not RATES[0] <= rate <= RATES[1]:
            raise UserError(f"{self._name} is a WAV of {rate} Hz, not of {RATES[0]} to {RATES[1]}: {_HOW}")
        self.rate, self._channels, self._formatted = rate, channels, True

    def _check_channel(self) -> None:
        if self._channel is not None and self._channel > self._channels:
            raise UserError(f"--channel {self._channel}: the stream has {self._channels}")
