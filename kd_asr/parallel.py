"""The same function over many items, with a progress bar: on all cores, by ranks, or by the jobs of a cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from functools import cache, partial
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar

from kd_asr.console import progress
from kd_asr.errors import UserError
from kd_asr.executors.shares import Call, chosen_cluster, spread
from kd_asr.fingerprints import known_digests, remember
from kd_asr.ranks import as_single_process, broadcast, gather, ranks, receive

Item = TypeVar("Item")
Result = TypeVar("Result")

# How a running function moves the bar: set in each worker, and in this process when there is only one job.
_advance: Callable[[tuple[float, bool]], None] = lambda amount: None  # noqa: E731
# What went wrong in a worker's initializer: raised by its first item, since the pool itself would hide it.
_failure: Exception | None = None


def available_cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def advance(amount: float, *, before: bool = False) -> None:
    """Move the bar of the `parallel_map(..., self_reporting=True)` that called this function.

    Args:
        amount: how far.
        before: whether it is what an interrupted run had done, which says nothing of the speed.
    """
    _advance((amount, before))


def _exit_with_parent() -> None:
    """Leave no worker behind when the parent is killed: it could write where the next run has begun to."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start_worker(
    environment: Mapping[str, str],
    digests: Mapping[frozenset[str], str],
    queue: SimpleQueue[tuple[float, bool]],
    initializer: Callable[..., None] | None,
    initargs: tuple[Any, ...],
) -> None:
    global _advance, _failure  # noqa: PLW0603 - one bar per worker process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends its workers
    # A fork of the server has the variables that were set when the server started.
    os.environ.clear()
    os.environ.update(environment)
    remember(digests)
    _exit_with_parent()
    _advance = queue.put
    if initializer is not None:
        try:
            initializer(*initargs)
        except Exception as error:
            _failure = error


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    if _failure is not None:
        raise _failure
    return function(item)


# A worker that is a new interpreter spends four seconds of processor time on importing torch, and three more on its
# first optimiser. On Linux it is the fork of a server instead: an interpreter that has imported the same modules and
# done nothing else, so that it has no threads. (A fork of this process, which may have OpenMP threads, can hang.)
# Elsewhere system libraries do not bear a fork.
_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")

# What workers and the server find in their environment. Libraries read it when they are loaded, before any code of
# ours runs.
_ENVIRONMENT = {
    # Two processes of one thread each do twice the work of one with two.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc gives freed memory at the end of its heap back at once, and every training step gets the same pages anew: a
    # third of the time of small networks went there.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


@contextmanager
def _starting() -> Iterator[None]:
    """Processes started inside have `_ENVIRONMENT` and this process's `sys.path`, and do not see Ctrl-C."""
    changed = {**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    if sys.platform != "win32":
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@cache
def _start_server() -> None:
    """Have the server ready: Ctrl-C in the seconds that it takes to load leaves no worker half started."""
    if sys.platform == "linux":
        context = multiprocessing.get_context("forkserver")
        loaded = [name for name in sys.modules if name.partition(".")[0] == "kd_asr"]
        # The first optimiser of a process imports it, which takes another three seconds.
        later = ["torch._dynamo"] if "torch" in sys.modules else []
        context.set_forkserver_preload([*loaded, *later])
        with _starting():
            process = context.Process()  # without a target it does nothing
            process.start()
        process.join()


class Workers:
    """Worker processes of one thread each, which keep from one map to the next what they have loaded.

    They are no forks of this process, so functions and items must be picklable: a top-level function or a
    `functools.partial` of one. Workers end when this process ends, however it ends, and with the context:

        with Workers() as workers:
            results = list(workers.map(function, items, description="...", unit="files"))
    """

    def __init__(
        self, jobs: int = 0, *, initializer: Callable[..., None] | None = None, initargs: Iterable[Any] = ()
    ) -> None:
        """Prepare; the processes start with the first items.

        Args:
            jobs: processes, 0 for one per core.
            initializer: runs once in each worker, for what is costly to load.
            initargs: its arguments.
        """
        self.jobs = max(1, (jobs or available_cores()) // ranks().on_this_machine)
        self._asked, self._initializer, self._initargs = jobs, initializer, tuple(initargs)
        self._number = _open_on_other_ranks(jobs, initializer, self._initargs)
        self._queue: SimpleQueue[tuple[float, bool]] = _CONTEXT.SimpleQueue()
        environment = {**os.environ, **_ENVIRONMENT}
        self._pool = ProcessPoolExecutor(
            self.jobs,
            _CONTEXT,
            _start_worker,
            (environment, known_digests(), self._queue, initializer, self._initargs),
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        if ranks().hands_out:
            broadcast(("close", self._number))

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        description: str,
        unit: str,
        amount: Callable[[Item], float] = lambda item: 1,
        self_reporting: bool = False,
    ) -> Iterator[Result]:
        """Results in the order of `items`, with a progress bar. With several ranks, or on a cluster, each rank or job
        does its share of them.

        `amount(item)` is how far the bar moves, in `unit`; with `self_reporting` the function moves it itself, by
        `advance`. An error, or a consumer that stops half-way, ends the workers for good.

        Raises:
            UserError: a worker was killed, most often for want of memory. Errors of `function` and of the initializer
                come through as they are.
        """
        if ranks().hands_out:
            broadcast(("map", self._number, function, items))
            here = partial(
                self.map, function, description=description, unit=unit, amount=amount, self_reporting=self_reporting
            )
            shares = gather(_compute_share(items, here))
            yield from (shares[number % len(shares)][number // len(shares)] for number in range(len(items)))
            return
        cluster = chosen_cluster()
        with progress() as bars:
            task = bars.add_task(description, total=sum(amount(item) for item in items), unit=unit)
            moved = partial(bars.advance, task)
            if cluster is None:
                ready = (lambda item: None) if self_reporting else (lambda item: moved(amount(item)))
                results = self.results(function, items, title=description, moved=moved, ready=ready)
            else:
                call = Call(function, self._initializer, self._initargs, self._asked)
                results = spread(cluster, call, items, title=description, moved=moved)
            with closing(results):
                for item, result in zip(items, results, strict=True):
                    if not self_reporting and cluster is not None:
                        moved(amount(item))
                    yield result

    def submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        """One call, by a process that is free; calls begin in their order. Both must be picklable.

        The future raises `BrokenProcessPool` if the process was killed, and so does this method after that.
        """
        _start_server()
        with _starting():
            return self._pool.submit(_call, function, item)

    def results(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        title: str,
        moved: Callable[..., None],
        ready: Callable[[Item], None] = lambda item: None,
    ) -> Generator[Result, None, None]:
        """Results in the order of `items`, by the workers of this process.

        Args:
            function: picklable.
            items: picklable.
            title: begins the message of an error.
            moved: is told how far the function has moved the bar by `advance`, and whether an interrupted run had.
            ready: is told of every item that is done, also of one whose turn has not come.

        Raises:
            UserError: a worker was killed.
        """
        pending: dict[int, Future[Result]] = {}
        reported: set[int] = set()

        def report_ready() -> None:
            for number in [one for one, future in pending.items() if one not in reported and future.done()]:
                reported.add(number)
                ready(items[number])

        submitted = 0
        finished = False
        try:
            for number in range(len(items)):
                # A window of submitted items, so that a slow consumer does not pile up results in memory.
                while submitted < len(items) and len(pending) < 4 * self.jobs:
                    pending[submitted] = self.submit(function, items[submitted])
                    submitted += 1
                while not pending[number].done():
                    # For this one only: with the others, of which some are done, it would not wait at all.
                    wait([pending[number]], timeout=0.2)
                    report_ready()
                    _drain(self._queue, moved)
                report_ready()
                result = pending.pop(number).result()
                _drain(self._queue, moved)
                yield result
            finished = True
        except BrokenProcessPool as error:
            raise UserError(
                f"{title}: a worker process was killed, most often for want of memory; use fewer of "
                "them (--jobs 1 of `kd-asr run` and `kd-asr configure`)"
            ) from error
        finally:
            if not finished:
                # Running items would be waited for: end them. What they were making is made again from its checkpoint.
                for process in list((self._pool._processes or {}).values()):
                    process.kill()


_opened = 0


def _open_on_other_ranks(jobs: int, initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> int:
    """Make the other ranks start workers of their own; the number by which later messages name them."""
    global _opened  # noqa: PLW0603 - counted on rank 0
    if ranks().hands_out:
        _opened += 1
        broadcast(("open", _opened, jobs, initializer, initargs))
    return _opened


def _compute_share(
    items: Sequence[Item], mapped: Callable[[Sequence[Item]], Iterator[Result]]
) -> list[Result]:
    """This rank's results."""
    mine = items[ranks().rank :: ranks().size]
    with as_single_process():
        return list(mapped(mine))


def run_on_other_ranks(function: Callable[[Item], None], item: Item) -> None:
    """Make all other ranks call `function(item)`; this one does not wait for them."""
    broadcast(("run", function, item))


def serve() -> None:
    """On a rank other than 0, do what rank 0 broadcasts until it is done: this rank's share of maps, and functions."""
    opened: dict[int, Workers] = {}
    while True:
        kind, *content = receive()
        if kind == "open":
            number, jobs, initializer, initargs = content
            opened[number] = Workers(jobs, initializer=initializer, initargs=initargs)
        elif kind == "map":
            number, function, items = content
            gather(_compute_share(items, partial(opened[number].map, function, description="", unit="")))
        elif kind == "close":
            opened.pop(content[0]).__exit__()
        elif kind == "run":
            function, item = content
            function(item)
        else:
            return


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    description: str,
    unit: str,
    jobs: int = 0,
    amount: Callable[[Item], float] = lambda item: 1,
    self_reporting: bool = False,
    initializer: Callable[..., None] | None = None,
    initargs: Iterable[Any] = (),
) -> Iterator[Result]:
    """`Workers.map` with workers of its own, no more of them than items."""
    if chosen_cluster() is None:
        jobs = min(jobs or available_cores(), max(1, len(items)))
    with Workers(jobs, initializer=initializer, initargs=initargs) as workers:
        yield from workers.map(
            function, items, description=description, unit=unit, amount=amount, self_reporting=self_reporting
        )


def _drain(queue: SimpleQueue[tuple[float, bool]], moved: Callable[..., None]) -> None:
    while not queue.empty():
        amount, before = queue.get()
        moved(amount, before=before)
    moved(0.0)  # a line is due after a minute without any
