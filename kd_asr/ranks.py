"""Several processes of one command, started by torchrun, on one machine or many that share the run folder.

    torchrun --nproc-per-node 2 --no-python kd-asr ensemble exp/run

Rank 0 runs the command. The other ranks wait for what it hands out (`kd_asr.parallel`): items of a map, of which each
does its share, or a network that all train together (`kd_asr.training.distributed`). Without torchrun there is one
rank.

The ranks end together. Each looks twice a second whether torchrun, its parent, is still there, and whether another rank
has told of an error in the store by which they met: waiting for each other inside a library they would not notice.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from kd_asr.console import console, say

# Rank 0 may build a graph for hours before it has something to hand out.
_PATIENCE = timedelta(days=7)
_LOOK_SECONDS = 0.5
# How long a rank that failed waits for rank 0 to say why, before it says so itself.
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Ranks:
    """This process among the others.

    Attributes:
        rank: 0 for the one that runs the command.
        size: processes in all.
        on_this_machine: of them.
    """

    rank: int
    size: int
    on_this_machine: int

    @property
    def hands_out(self) -> bool:
        """Whether this is rank 0 of several."""
        return self.size > 1 and self.rank == 0


_ranks = Ranks(0, 1, 1)


def ranks() -> Ranks:
    """This process among the others; without torchrun, and in worker processes, it is the only one."""
    return _ranks


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun has started, if it has, for as long as the context lasts.

    An exception that leaves the context ends this process, after it is printed, and all other ranks.
    """
    global _ranks, _watch  # noqa: PLW0603 - one per process
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield _ranks
        return
    parent = os.getppid()
    import torch.distributed  # at use: it takes a second that most commands do not need

    from kd_asr.device import carriers

    _watch = _Watch(parent)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    torch.distributed.init_process_group(carriers(here), timeout=_PATIENCE)
    _ranks = Ranks(torch.distributed.get_rank(), size, here)
    _watch.meet(_ranks.rank)
    try:
        yield _ranks
    except BaseException:
        _watch.look()  # it may be no more than that another rank has gone
        traceback.print_exc()
        end_all_ranks(1)
    _ranks = Ranks(0, 1, 1)
    # A network that was trained together may still hold the group, and must let go of it before it ends.
    gc.collect()
    torch.distributed.all_reduce(torch.zeros(1))
    _watch.stop()
    torch.distributed.destroy_process_group()


class _Watch:
    """Ends this rank when torchrun or another rank has ended before its time."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._rank = 0
        self._store: Any = None  # where all ranks meet; None before
        self._stopped = threading.Event()
        self._key = f"kd_asr/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        threading.Thread(target=self._look_again_and_again, daemon=True).start()

    def meet(self, rank: int) -> None:
        """Look for errors of other ranks as well, by a connection of this thread's own."""
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self._rank = rank
        self._store = TCPStore(host, port, is_master=False, timeout=timedelta(minutes=1))

    def stop(self) -> None:
        """Look no more: the ranks part."""
        self._stopped.set()

    def look(self) -> None:
        """End this process if torchrun has ended or another rank has failed."""
        if os.getppid() != self._parent:
            os._exit(1)
        try:
            if self._store is not None and self._store.check([f"{self._key}/error"]):
                self._follow(json.loads(self._store.get(f"{self._key}/error")))
        except RuntimeError:  # the store is gone, and with it torchrun on the first machine
            if not self._stopped.is_set():
                os._exit(1)

    def _look_again_and_again(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            self.look()

    def _follow(self, error: dict[str, Any]) -> None:
        """End as the rank that failed; rank 0 says why."""
        if error["rank"] == self._rank:
            return  # which is about to end
        if self._rank == 0:
            if error["sentence"]:
                console.show_cursor(True)
                say(f"kd-asr: error: {error['sentence']}")
            self._store.set(f"{self._key}/said", "")
        sys.stderr.flush()
        os._exit(error["status"])

    def end_others(self, status: int, sentence: str) -> None:
        """End the other ranks with this one, and wait until rank 0 has said why."""
        if self._store is None:
            return
        error = {"rank": self._rank, "status": status, "sentence": sentence}
        self._store.compare_set(f"{self._key}/error", "", json.dumps(error))
        deadline = time.monotonic() + _ANSWER_SECONDS
        while self._rank > 0 and not self._store.check([f"{self._key}/said"]):
            if time.monotonic() > deadline:
                if sentence:
                    print(f"kd-asr: error: {sentence}", file=sys.stderr, flush=True)
                return
            time.sleep(0.1)


_watch: _Watch | None = None


def end_all_ranks(status: int, sentence: str = "") -> NoReturn:
    """End this process and all other ranks at once, whatever they wait for; what they were making is resumed later.

    Args:
        status: exit status.
        sentence: what went wrong, for rank 0 to say; empty: it has been said.
    """
    assert _watch is not None
    try:
        _watch.end_others(status, sentence)
    except RuntimeError:  # no other rank is there
        if sentence:
            print(f"kd-asr: error: {sentence}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextmanager
def as_single_process() -> Iterator[None]:
    """Inside, `ranks()` says that this process is the only one, so that nothing is handed out to the others."""
    global _ranks  # noqa: PLW0603 - one per process
    before = _ranks
    _ranks = Ranks(0, 1, before.on_this_machine)
    try:
        yield
    finally:
        _ranks = before


def broadcast(message: object) -> None:
    """Send a message from rank 0 to all other ranks, which `receive` it; pickled, as between a pool's processes."""
    import torch.distributed

    torch.distributed.broadcast_object_list([message], src=0)


def receive() -> Any:
    """The next message that rank 0 broadcasts; waits for it."""
    import torch.distributed

    message: list[Any] = [None]
    torch.distributed.broadcast_object_list(message, src=0)
    return message[0]


def gather(result: object) -> list[Any]:
    """Every rank's result, in the order of ranks, on rank 0; an empty list on the others."""
    import torch.distributed

    results: list[Any] = [None] * _ranks.size if _ranks.rank == 0 else []
    torch.distributed.gather_object(result, results if _ranks.rank == 0 else None, dst=0)
    return results
