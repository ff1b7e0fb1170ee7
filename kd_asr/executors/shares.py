"""A map on a cluster: jobs write their results as files, which the process that asked reads one by one.

A folder of the run folder holds, for the time of a map:

    work.pkl               what to call, and how to start worker processes
    items-0003.pkl         share 3: every `shares`-th item from number 3 on
    result-000007.pkl      result of item 7, taken away by its reader
    error-0003.pkl         the error that ended share 3
    progress-0003          how far share 3 has moved the bar
    alive                  changes as long as the process that asked is there; jobs end when it stops or goes
    log/                   what the jobs print

Nothing travels any other way, so a job needs no network to the process that asked. Every file is renamed into place.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kd_asr.errors import UserError
from kd_asr.executors.base import ClusterExecutor, make_executor
from kd_asr.ranks import ranks
from kd_asr.registry import Named

_MAP = "map-"
_WORK = "work.pkl"
_ALIVE = "alive"
_LOG = "log"
_PULSE_SECONDS = 5.0
# Longer than network file systems keep what they know of a file.
_PATIENCE_SECONDS = 300.0
_WATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Cluster:
    """The cluster on which maps are computed.

    Attributes:
        executor: starts the jobs.
        folder: for their files, on a disk that its machines share.
    """

    executor: ClusterExecutor
    folder: Path


_cluster: Cluster | None = None


def chosen_cluster() -> Cluster | None:
    """The cluster on which maps are computed, inside `executing`; None: on this machine."""
    return _cluster


@contextmanager
def executing(named: Named, run_dir: Path) -> Iterator[None]:
    """Compute the maps inside with the executor that a setting names.

    Args:
        named: the setting `executor`.
        run_dir: a run folder that the caller has locked, on a disk that the machines of a cluster share. Jobs that a
            killed command has left there are ended, whatever the executor.

    Raises:
        UserError: the executor's package is not installed, or there are ranks as well.
    """
    global _cluster  # noqa: PLW0603 - one per process
    executor = make_executor(named)
    folder = run_dir.absolute() / ".cluster"
    clean(folder)
    if not isinstance(executor, ClusterExecutor):
        yield
        return
    if ranks().size > 1:
        raise UserError(f"executor: {named.name} and torchrun exclude each other: start kd-asr without torchrun")
    _cluster = Cluster(executor, folder)
    try:
        yield
        clean(folder)  # after an error it stays, with what the jobs have printed
    finally:
        _cluster = None
        executor.close()


@dataclass(frozen=True)
class Call:
    """What a map calls for every item.

    Attributes:
        function: picklable.
        initializer: runs once in each worker process.
        initargs: its arguments.
        processes: of each job; 0: as many as it has cores.
    """

    function: Callable[[Any], Any]
    initializer: Callable[..., None] | None
    initargs: tuple[Any, ...]
    processes: int


@dataclass(frozen=True)
class _Work:
    """What the jobs of a map share: folder and import path of the process that asked, and the call, packed since its
    modules are found by that path alone."""

    place: str
    paths: list[str]
    shares: int
    processes: int
    title: str
    call: bytes


def spread(
    cluster: Cluster, call: Call, items: Sequence[Any], *, title: str, moved: Callable[[float], None]
) -> Generator[Any, None, None]:
    """Results in the order of `items`, from jobs of a cluster.

    Args:
        cluster: where.
        call: what to do with each item.
        items: picklable.
        title: names the jobs and begins messages.
        moved: is told how far the functions have moved the bar.

    Raises:
        UserError: a job ended without its results. Errors of the function and of the initializer come through as they
            are, from the first job that has one.
    """
    if not items:
        return
    executor = cluster.executor
    shares = min(executor.settings.workers, len(items))
    cluster.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_MAP, dir=cluster.folder))
    (folder / _LOG).mkdir()
    processes = min(call.processes or executor.settings.cores, executor.settings.cores)
    _write(folder / _WORK, _Work(os.getcwd(), list(map(str, sys.path)), shares, processes, title, pickle.dumps(call)))  # noqa: PTH109
    for share in range(shares):
        _write(folder / f"items-{share:04d}.pkl", pickle.dumps(list(items[share::shares])))
    counted = [0.0] * shares
    finished = False
    with _pulse(folder / _ALIVE):
        submitted = executor.submit(
            partial(do_share, folder),
            shares,
            title=title,
            folder=folder / _LOG,
            environment={"PYTHONPATH": os.pathsep.join(map(str, sys.path))},
        )
        try:
            for number in range(len(items)):
                path = folder / f"result-{number:06d}.pkl"
                pause, last_look = 0.01, 0.0
                while not path.exists():
                    _raise_first_error(folder)
                    how = submitted.ended(number % shares)
                    if how is not None:
                        last_look = last_look or time.monotonic() + executor.file_delay
                        if time.monotonic() >= last_look and not path.exists():
                            _raise_first_error(folder)
                            raise UserError(
                                f"{title}: job {number % shares + 1} of {shares} ended without its results ({how}): "
                                "if it was killed, give jobs more time or memory, or fewer processes with --jobs 1"
                            )
                    _move_bar(folder, counted, moved)
                    time.sleep(pause)
                    pause = min(2 * pause, 0.5)
                result = pickle.loads(path.read_bytes())
                path.unlink()
                yield result
            _move_bar(folder, counted, moved)
            finished = True
        finally:
            if not finished:
                submitted.cancel()
    for path in folder.glob("*.pkl"):  # the jobs' log stays: they may still be writing their last line
        path.unlink()


def clean(folder: Path) -> None:
    """Take away what the last command has left; if it was killed, its jobs end first."""
    left = list(folder.glob(f"{_MAP}*"))
    orphans = [one / _ALIVE for one in left if (one / _ALIVE).exists()]
    for alive in orphans:
        alive.unlink()
    if orphans:
        time.sleep(2 * _WATCH_SECONDS)  # nothing of theirs may be written where new ones begin
    shutil.rmtree(folder, ignore_errors=True)


def do_share(folder: Path, share: int) -> None:
    """In a job: compute the results of a share, in worker processes, and write them as files."""
    from kd_asr.parallel import Workers  # which imports this module

    done = threading.Event()
    threading.Thread(target=_exit_with, args=(folder / _ALIVE, done), daemon=True).start()
    try:
        work: _Work = pickle.loads((folder / _WORK).read_bytes())
        os.chdir(work.place)
        sys.path += [one for one in work.paths if one not in sys.path]
        call: Call = pickle.loads(work.call)
        items = pickle.loads((folder / f"items-{share:04d}.pkl").read_bytes())
        progress = _Progress(folder / f"progress-{share:04d}")
        with Workers(work.processes, initializer=call.initializer, initargs=call.initargs) as workers:
            results = workers.results(call.function, items, title=work.title, moved=progress.add)
            for number, result in enumerate(results):
                progress.write()
                _write(folder / f"result-{share + number * work.shares:06d}.pkl", pickle.dumps(result))
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        _write(folder / f"error-{share:04d}.pkl", _packed(error))
    finally:
        done.set()


class _Progress:
    """How far a share has moved the bar, written at most once a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sum = self._written = 0.0
        self._time = time.monotonic()

    def add(self, amount: float, *, before: bool = False) -> None:
        self._sum += amount  # what was done before moves the bar as well
        if time.monotonic() - self._time > 1.0:
            self.write()

    def write(self) -> None:
        if self._sum != self._written:
            _write(self._path, repr(self._sum).encode())
            self._written, self._time = self._sum, time.monotonic()


def _move_bar(folder: Path, counted: list[float], moved: Callable[[float], None]) -> None:
    """Move the bar by what the shares have done since the last time."""
    for share, before in enumerate(counted):
        path = folder / f"progress-{share:04d}"
        if path.exists():
            counted[share] = float(path.read_text())
            moved(counted[share] - before)


def _raise_first_error(folder: Path) -> None:
    for path in sorted(folder.glob("error-*.pkl")):
        raise pickle.loads(path.read_bytes())


def _packed(error: Exception) -> bytes:
    """An error for another process; one that cannot go there is told in words."""
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)
    except Exception:
        packed = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return packed


def _write(path: Path, content: object) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    temporary.replace(path)


@contextmanager
def _pulse(path: Path) -> Iterator[None]:
    """Write another number into a file every few seconds, as long as the context lasts; then take it away."""
    ended = threading.Event()

    def beat() -> None:
        number = 0
        while not ended.wait(_PULSE_SECONDS):
            number += 1
            _write(path, str(number).encode())

    _write(path, b"0")
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)


def _exit_with(alive: Path, done: threading.Event) -> None:
    """End this process, and so its workers, when the process that asked for its work has ended."""
    seen, since = b"", time.monotonic()
    while not done.wait(_WATCH_SECONDS):
        try:
            now = alive.read_bytes()
        except OSError:
            if not done.is_set():
                os._exit(1)
            return
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > _PATIENCE_SECONDS:
            os._exit(1)
