"""What jobs of a cluster do in tests. Each job imports this, so it imports little."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from kd_asr.errors import UserError
from kd_asr.parallel import advance

FLAGS = {
    "submitit": ["--executor.submitit.cluster=local", "--executor.submitit.cores=1", "--executor.submitit.workers=2"],
    "ray": ["--executor.ray.cores=1", "--executor.ray.workers=2"],
}
OFFSET = 0


def set_offset(value: int) -> None:
    global OFFSET  # noqa: PLW0603
    OFFSET = value


def told(number: int) -> tuple[int, int, str, bytes]:
    """A result of 3 MB, with the process and the folder that it was computed in."""
    advance(10)
    return number * number + OFFSET, os.getpid(), os.getcwd(), bytes([number]) * 3_000_000  # noqa: PTH109


def refuse(number: int) -> int:
    if number == 2:
        raise UserError("audio/2.flac is damaged: leave it out")
    return number


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[1])


def kill_worker(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_job(_: int) -> None:
    """The process above the server that this worker is a fork of."""
    os.kill(parent(parent(os.getpid())), signal.SIGKILL)
    time.sleep(60)


def leave_a_mark(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(120)


def interrupted_command(run_dir: str, mark: str) -> None:
    """What a command does that a test kills."""
    from kd_asr.executors.shares import executing
    from kd_asr.parallel import parallel_map
    from kd_asr.registry import Named, find

    settings = find("executor", "submitit").Settings(cluster="local", cores=1)
    with executing(Named("executor", "submitit", settings), Path(run_dir)):
        list(parallel_map(leave_a_mark, [mark], description="long", unit="items"))
