import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kd_asr.errors import UserError
from kd_asr.fingerprints import code_digest, known_digests
from kd_asr.parallel import Workers, advance, parallel_map

OFFSET = 0


def set_offset(value: int) -> None:
    global OFFSET  # noqa: PLW0603
    OFFSET = value


def square(number: int) -> int:
    advance(1)
    return number * number + OFFSET


def threads(_: int) -> int:
    import torch

    return torch.get_num_threads()


def page_faults(rounds: int) -> int:
    """Of twelve arrays of 5 MB that are made and given up in every round, in the later half of the rounds."""
    counts = []
    for _ in range(rounds):
        arrays = [np.ones(1_250_000, dtype=np.float32) for _ in range(12)]
        del arrays
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    return counts[-1] - counts[len(counts) // 2]


def fail(number: int) -> int:
    raise ZeroDivisionError(f"item {number}")


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleep_long(seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_are_in_order_whatever_the_number_of_jobs(jobs: int) -> None:
    results = parallel_map(
        square, range(20), description="squares", unit="items", jobs=jobs, initializer=set_offset, initargs=(5,)
    )
    assert list(results) == [number * number + 5 for number in range(20)]


def test_errors_of_the_initializer_come_through_without_a_word_of_their_own(capfd) -> None:
    with pytest.raises(ZeroDivisionError, match="item 7"):
        list(parallel_map(square, range(3), description="x", unit="items", jobs=1, initializer=fail, initargs=(7,)))
    assert "Traceback" not in capfd.readouterr().err


def test_no_items_is_fine() -> None:
    assert list(parallel_map(square, [], description="none", unit="items")) == []


def test_workers_have_one_thread() -> None:
    assert list(parallel_map(threads, [0], description="threads", unit="items")) == [1]


def process_number(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def parent_number(_: int) -> int:
    return os.getppid()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bear a fork")
def test_one_server_has_the_workers_so_that_none_imports_torch_anew() -> None:
    servers = {next(parallel_map(parent_number, [0], description="x", unit="items")) for _ in range(2)}
    assert len(servers) == 1
    assert os.getpid() not in servers
    status = Path(f"/proc/{servers.pop()}/status").read_text()
    assert "Threads:\t1\n" in status  # a fork of a process with threads can hang


def is_loaded(module: str) -> bool:
    return module in sys.modules


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bear a fork")
def test_workers_begin_with_torch_and_what_its_optimisers_load() -> None:
    import torch  # noqa: F401 - what this process has loaded, its workers have

    assert all(parallel_map(is_loaded, ["torch", "torch._dynamo"], description="x", unit="items"))


def told(_: int) -> dict[frozenset[str], str]:
    return known_digests()


def test_workers_know_the_digests_of_code_that_this_process_has_found() -> None:
    digest = code_digest(["kd_asr.errors"])
    assert next(parallel_map(told, [0], description="x", unit="items"))[frozenset(["kd_asr.errors"])] == digest


def surroundings(_: int) -> tuple[str | None, str | None, str, list[str]]:
    return os.environ.get("KD_ASR_NEW"), os.environ.get("KD_ASR_OLD"), os.getcwd(), sys.path  # noqa: PTH109


def test_workers_find_what_this_process_finds(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("KD_ASR_OLD", "old")
    list(parallel_map(surroundings, [0], description="x", unit="items"))
    monkeypatch.delenv("KD_ASR_OLD")
    monkeypatch.setenv("KD_ASR_NEW", "new")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    [found] = parallel_map(surroundings, [0], description="x", unit="items")
    assert found == ("new", None, str(tmp_path), [str(part) for part in sys.path])


def test_what_starts_workers_is_not_seen_outside() -> None:
    before = dict(os.environ)
    results = parallel_map(square, range(3), description="x", unit="items")
    next(results)
    assert dict(os.environ) == before
    assert list(results) == [1, 4]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other allocators")
def test_workers_keep_the_memory_that_every_step_wants_anew() -> None:
    [found] = parallel_map(page_faults, [40], description="arrays", unit="rounds")
    assert found < 1000  # 20 rounds of 60 MB are 300,000 pages


def test_workers_serve_one_map_after_another() -> None:
    with Workers(1) as workers:
        first, second = (list(workers.map(process_number, [0], description="x", unit="items")) for _ in range(2))
        assert first == second != [os.getpid()]


def test_waiting_for_a_slow_item_takes_no_processor_from_the_workers() -> None:
    with Workers(2) as workers:
        list(workers.map(time.sleep, [0.0] * 2, description="start", unit="items"))
        before = time.process_time()
        list(workers.map(time.sleep, [2.0, 0.0, 0.0], description="sleep", unit="items"))
        assert time.process_time() - before < 0.5  # of the two seconds


def test_errors_come_through() -> None:
    with pytest.raises(ZeroDivisionError, match="item 1"):
        list(parallel_map(fail, [1, 2], description="failing", unit="items", jobs=2))


def test_a_killed_worker_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"dying: a worker process was killed.*--jobs 1"):
        list(parallel_map(die, [1], description="dying", unit="items", jobs=1))


def test_workers_do_not_outlive_a_killed_parent(tmp_path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from kd_asr.parallel import parallel_map\n"
        "def work(path):\n"
        "    open(path, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    list(parallel_map(work, [sys.argv[1]], description='long', unit='items', jobs=1))\n"
    )
    mark = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, str(script), str(mark)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120  # for a busy machine
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    worker = int(mark.read_text())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc")
def test_ctrl_c_while_workers_start_is_told_by_the_parent_alone(tmp_path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import signal, time\n"
        "from kd_asr.parallel import parallel_map\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored when the tests run behind `&`\n"
        "    try:\n"
        "        list(parallel_map(time.sleep, [60], description='long', unit='items', jobs=1))\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    deadline = time.monotonic() + 120
    begun = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    while len(begun.read_text().split()) < 2 and time.monotonic() < deadline:  # the resource tracker, then the server
        time.sleep(0.005)
    time.sleep(0.15)
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=120)
    assert out == "interrupted\n"
    assert "Traceback" not in err


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().split(")")[-1].split()[0] != "Z"
    except OSError:
        return False
