"""Several processes of one command, started by torchrun, on one machine or many that share the run folder.

    torchrun --nproc-per-node 2 --no-python kd-asr ensemble exp/run

Rank 0 runs the command. The other ranks wait for what it hands out (`kd_asr.parallel`): items of a map, of which each
does its share, or a network that all train together (`kd_asr.training.distributed`). Without torchrun there is one
rank.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

# Rank 0 may build a graph for hours before it has something to hand out.
_PATIENCE = timedelta(days=7)


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
    """Join the processes that torchrun has started, if it has, for as long as the context lasts."""
    global _ranks  # noqa: PLW0603 - one per process
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield _ranks
        return
    import torch.distributed  # at use: it takes a second that most commands do not need

    torch.distributed.init_process_group("gloo", timeout=_PATIENCE)
    _ranks = Ranks(torch.distributed.get_rank(), size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    try:
        yield _ranks
    finally:
        _ranks = Ranks(0, 1, 1)
        # A network that was trained together may still hold the group, and must let go of it before it ends.
        gc.collect()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


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
