"""From the bytes of a stream to what is heard in it: for a pipe, a microphone and a server alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kd_asr.errors import UserError
from kd_asr.features.frames import resampled
from kd_asr.recognition.pcm import PcmReader
from kd_asr.recognition.stream import Heard, LoadedRecogniser, StreamRecogniser


class Listener:
    """One stream, from its bytes to what is heard; the same bytes give the same, however they are cut."""

    def __init__(
        self,
        loaded: LoadedRecogniser,
        rate: int,
        channel: int | None = None,
        *,
        name: str = "standard input",
        longest: float | None = None,
    ) -> None:
        """Begin with a stream.

        Args:
            loaded: the recogniser.
            rate: that of bare PCM, Hz.
            channel: of a WAV with several, the one that is used, counted from 1; None: the mean of all.
            name: of the stream, in error messages.
            longest: seconds of a stream; None: it may go on.
        """
        self._stream = StreamRecogniser(loaded)
        self._reader = PcmReader(rate, channel, name=name)
        self._target_rate = loaded.features.sample_rate
        self._longest = longest
        self._seconds = 0.0
        self._name = name
        self._waiting: deque[NDArray[np.float32]] = deque()
        self._resampled: Iterator[NDArray[np.float32]] | None = None

    def accept(self, data: bytes) -> list[Heard]:
        """What is new after some more bytes.

        Raises:
            UserError: they are not of PCM or WAV, or the stream is too long.
        """
        return self._accept(data, last=False)

    def finish(self) -> list[Heard]:
        """What is new when the stream has ended.

        Raises:
            UserError: it ended within its header.
        """
        found = self._accept(b"", last=True)
        for block in self._resampled or ():
            found += self._stream.accept(block)
        return [*found, *self._stream.finish()]

    def _accept(self, data: bytes, *, last: bool) -> list[Heard]:
        found: list[Heard] = []
        for block in self._reader.accept(data, last=last):
            self._seconds += len(block) / self._reader.rate
            if self._longest is not None and self._seconds > self._longest:
                raise UserError(f"{self._name} is longer than {self._longest:g} s: begin another stream")
            if self._resampled is None:
                self._resampled = resampled(self._taken(), self._reader.rate, self._target_rate)
            self._waiting.append(block)
            # For every block that is waiting, one is given.
            found += self._stream.accept(next(self._resampled))
        return found

    def _taken(self) -> Iterator[NDArray[np.float32]]:
        while self._waiting:
            yield self._waiting.popleft()
