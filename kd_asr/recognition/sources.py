"""Where a stream of this machine comes from: standard input, or a microphone."""

from __future__ import annotations

import io
import queue
import sys
from collections.abc import Iterator
from typing import Any

from kd_asr.console import say
from kd_asr.errors import UserError
from kd_asr.recognition.stream import CHUNK_SECONDS

# What is read from a pipe at a time, at most: it gives what is there.
_PIPE_BYTES = 1 << 14
# Seconds of a microphone that wait for the recogniser; what comes beyond is lost.
_WAITING_SECONDS = 30.0


def standard_input() -> Iterator[bytes]:
    """The bytes of standard input, as they come."""
    source = sys.stdin.buffer
    assert isinstance(source, io.BufferedIOBase)  # not every binary file gives what is there
    while data := source.read1(_PIPE_BYTES):
        yield data


def microphone(rate: int) -> Iterator[bytes]:
    """PCM of 16 bits with one channel from the system's default microphone, without an end.

    Args:
        rate: Hz.

    Raises:
        UserError: the extra `microphone` is not installed, or there is no microphone with this rate.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise UserError(
            "--stream mic needs the package sounddevice: pip install 'kd-asr[microphone]'"
        ) from error
    except OSError as error:  # on Linux, where the package is without the library
        raise UserError(
            f"--stream mic needs PortAudio ({error}): install it, for example with `apt install libportaudio2`"
        ) from error
    waiting: queue.Queue[bytes] = queue.Queue(maxsize=round(_WAITING_SECONDS / CHUNK_SECONDS))
    lost = 0

    def take(data: Any, frames: int, time: Any, status: Any) -> None:
        nonlocal lost
        try:
            waiting.put_nowait(bytes(data))
        except queue.Full:
            lost += 1

    def heard() -> Iterator[bytes]:
        told = 0
        with stream:
            while True:
                yield waiting.get()
                if lost > told:
                    say(f"the recogniser does not keep up: {(lost - told) * CHUNK_SECONDS:.1f} s were not heard")
                    told = lost

    try:
        stream = sounddevice.RawInputStream(
            samplerate=rate, channels=1, dtype="int16", blocksize=round(rate * CHUNK_SECONDS), callback=take
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise UserError(
            f"there is no microphone that can be read at {rate} Hz ({error}): plug one in, or name another --rate"
        ) from error
    return heard()
