"""Many streams in worker processes: each stream stays with one of them, which has the recogniser in memory.

The search holds the interpreter lock, so that streams in threads of one process would use one core.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from kd_asr.errors import UserError
from kd_asr.parallel import Workers
from kd_asr.recognition.listener import Listener
from kd_asr.recognition.recogniser import Recogniser
from kd_asr.recognition.stream import Heard, LoadedRecogniser

Item = TypeVar("Item")
Result = TypeVar("Result")
Lines = list[dict[str, Any]]

# Of a worker process: what it has loaded, and its streams by their numbers.
_loaded: list[LoadedRecogniser] = []
_listeners: dict[int, Listener] = {}


class StreamLost(Exception):
    """The process of a stream has ended, most often for want of memory."""


@dataclass(frozen=True)
class Opening:
    """What a stream begins with.

    Attributes:
        rate: of bare PCM, Hz.
        channel: of a WAV with several, counted from 1; None: the mean of all.
        longest: seconds of audio at most.
    """

    rate: int
    channel: int | None
    longest: float


def _load(recogniser: Recogniser) -> None:
    _loaded.append(LoadedRecogniser(recogniser))


def _ready(_: None) -> None:
    """Nothing: once it is answered, the initializer has run."""


def _open(item: tuple[int, Opening]) -> None:
    number, opening = item
    _listeners[number] = Listener(
        _loaded[0], opening.rate, opening.channel, name="the stream", longest=opening.longest
    )


def _accept(item: tuple[int, bytes]) -> Lines:
    number, data = item
    return _plain(_listeners[number].accept(data))


def _finish(number: int) -> Lines:
    return _plain(_listeners[number].finish())


def _close(number: int) -> None:
    _listeners.pop(number, None)


def _plain(heard: list[Heard]) -> Lines:
    return [one.as_json() for one in heard]


class _Worker:
    """One process, and how many streams it has."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self._workers = self._started()
        self.streams = 0

    def _started(self) -> Workers:
        return Workers(1, initializer=_load, initargs=(self._recogniser,))

    async def call(self, function: Callable[[Item], Result], item: Item) -> Result:
        workers = self._workers
        try:
            return await asyncio.wrap_future(workers.submit(function, item))
        except BrokenProcessPool as error:
            if self._workers is workers:  # the first stream to notice
                self._workers = self._started()
            raise StreamLost("the process of this stream has ended, most often for want of memory") from error

    def forget(self, number: int) -> None:
        """Drop a stream, after the calls for it that are waiting."""
        with suppress(BrokenProcessPool):  # with all its streams
            self._workers.submit(_close, number)

    def stop(self) -> None:
        self._workers.__exit__()


class RemoteStream:
    """A stream in a worker process; one call at a time."""

    def __init__(self, worker: _Worker, number: int) -> None:
        self._worker = worker
        self._number = number

    async def accept(self, data: bytes) -> Lines:
        """`Listener.accept`, as plain values.

        Raises:
            UserError: see there.
            StreamLost: the process has ended.
        """
        return await self._worker.call(_accept, (self._number, data))

    async def finish(self) -> Lines:
        """`Listener.finish`, as plain values; raises as `accept` does."""
        return await self._worker.call(_finish, self._number)


class StreamWorkers:
    """The processes, to which new streams are dealt."""

    def __init__(self, recogniser: Recogniser, jobs: int) -> None:
        """Prepare `jobs` processes; they start with `start`."""
        self._workers = [_Worker(recogniser) for _ in range(jobs)]
        self._numbers = count(1)

    async def start(self) -> None:
        """Load the recogniser in every process.

        Raises:
            UserError: a file is missing or damaged, or there is not enough memory.
        """
        try:
            await asyncio.gather(*(worker.call(_ready, None) for worker in self._workers))
        except StreamLost as error:
            raise UserError("there is not enough memory for so many processes: use --jobs 1") from error

    @asynccontextmanager
    async def stream(self, opening: Opening) -> AsyncIterator[RemoteStream]:
        """A new stream, in the process that has fewest."""
        worker, number = min(self._workers, key=lambda one: one.streams), next(self._numbers)
        worker.streams += 1
        try:
            await worker.call(_open, (number, opening))
            yield RemoteStream(worker, number)
        finally:
            worker.streams -= 1
            worker.forget(number)

    def stop(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.stop()
