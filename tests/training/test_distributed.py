"""Processes of torchrun against one."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import fits
import pytest
import torch
from conftest import make_prepared
from made_up_labels import make_aligned

from kd_asr.cli import main
from kd_asr.parallel import parallel_map
from kd_asr.settings.files import save_settings
from kd_asr.stages.features import features
from kd_asr.training.distributed import Group

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}

pytestmark = pytest.mark.early

def torchrun(ranks: int) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), "--standalone"]


def run(*command: object) -> subprocess.CompletedProcess[str]:
    arguments = [str(part) for part in command]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=300)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 9])
def test_shares_make_the_whole(count: int) -> None:
    values = torch.arange(1.0, 1 + count)
    groups = [Group(rank, 3) for rank in range(3)]
    parts = [values[group.share(count)] for group in groups]
    weights = [group.weight(count) for group in groups]
    assert all(len(part) for part in parts)
    seen = [part for part, weight in zip(parts, weights, strict=True) if weight]
    assert sorted(torch.cat(seen).tolist()) == values.tolist()
    weighted = [part.mean() * weight for part, weight in zip(parts, weights, strict=True)]
    assert torch.stack(weighted).mean() == pytest.approx(float(values.mean()), rel=1e-6)


def test_three_ranks_train_the_network_that_one_process_trains(tmp_path) -> None:
    """Weights agree to 1e-4 after two epochs; each rank gathers no more than its share."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    fits.train(alone)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Workers have imported torch: torchrun, which other tests here go through, would do so anew for each rank.
    rank = partial(fits.train_as_rank, size=3, port=port, folder=together)
    list(parallel_map(rank, range(3), description="ranks", unit="ranks", jobs=3))
    for name, batch_size in fits.FITS.items():
        one = torch.load(alone / name / "rank-0.pt")
        others = [torch.load(together / name / f"rank-{rank}.pt") for rank in range(3)]
        for key, value in one["weights"].items():
            for other in others:
                assert torch.allclose(other["weights"][key], value, rtol=1e-4, atol=1e-4), (name, key)
        assert fits.losses(together / name) == pytest.approx(fits.losses(alone / name), rel=1e-4)
        assert one["gathered"] == one["updates"] * batch_size
        most = -(-batch_size // 3) * one["updates"]
        assert all(other["gathered"] <= most for other in others)


# Rank 1 fails while rank 0 waits for it inside a library.
FAILING = """
import sys, time
from pathlib import Path
import torch
from kd_asr.ranks import end_all_ranks, joined_ranks

with joined_ranks() as ranks:
    if ranks.rank == 1:
        Path(sys.argv[1]).write_text(str(time.time()))
        end_all_ranks(2, "audio/2.flac is damaged: leave it out")
    torch.distributed.all_reduce(torch.zeros(1))
"""


def test_an_error_of_one_rank_is_told_once_and_ends_all_within_ten_seconds(tmp_path) -> None:
    script = tmp_path / "fail.py"
    script.write_text(FAILING)
    done = run(*torchrun(2), script, tmp_path / "failed")
    ended = time.time()
    assert done.returncode != 0
    assert done.stderr.count("kd-asr: error: audio/2.flac is damaged: leave it out") == 1
    assert "RuntimeError" not in done.stderr
    assert ended - float((tmp_path / "failed").read_text()) < 10
    assert "leaked" not in done.stderr


ORPHANS = """
import os, sys, time
from pathlib import Path
from kd_asr.parallel import parallel_map
from kd_asr.ranks import as_single_process, joined_ranks

def work(folder):
    Path(folder, f"worker-{os.getpid()}").touch()
    time.sleep(600)

if __name__ == "__main__":
    folder = sys.argv[1]
    with joined_ranks() as ranks:
        Path(folder, f"rank-{os.getpid()}").touch()
        if ranks.rank == 1:
            import torch
            torch.distributed.all_reduce(torch.zeros(1))  # waits for rank 0 inside a library
        with as_single_process():
            list(parallel_map(work, [folder], description="x", unit="items", jobs=1))
"""


def alive(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_ranks_and_their_workers_end_when_torchrun_is_killed(tmp_path) -> None:
    script, folder = tmp_path / "orphans.py", tmp_path / "marks"
    script.write_text(ORPHANS)
    folder.mkdir()
    command = [*torchrun(2), str(script), str(folder)]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        while len(list(folder.iterdir())) < 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    pids = [path.name.partition("-")[2] for path in folder.iterdir()]
    while any(map(alive, pids)):
        assert time.monotonic() - killed < 10
        time.sleep(0.05)


@pytest.fixture
def runs(tmp_path, run_dir, settings, utterances) -> tuple[Path, Path]:
    """The same run twice, up to its labels. No dropout, which ranks draw for themselves, and plain float32."""
    plain = replace(settings.network.settings, dropout=0.0)
    network = replace(settings.network, settings=plain)
    train = replace(settings.train, precision="fp32", epochs=3, batch_frames=33)
    settings = replace(settings, network=network, train=train)
    save_settings(run_dir, settings)
    make_prepared(run_dir, utterances)
    features(run_dir, settings)
    make_aligned(run_dir, settings)
    return run_dir, Path(shutil.copytree(run_dir, tmp_path / "together"))


@pytest.mark.slow
def test_members_and_posteriors_are_spread_over_ranks_with_the_same_bits(runs) -> None:
    alone, together = runs
    for stage in ("ensemble", "transfer", "posteriors", "baseline"):
        assert main([stage, str(alone)]) == 0
        done = run(*torchrun(2), "-m", "kd_asr", stage, together)
        assert done.returncode == 0, done.stderr
    for name in ("ensemble/member-00", "ensemble/member-01", "posteriors"):
        for path in sorted((alone / name).iterdir()):
            if path.name != "manifest.json":
                assert path.read_bytes() == (together / name / path.name).read_bytes(), path
    # A single network is trained by both together.
    accuracies = [fits.losses(folder / "baseline" / "baseline-00") for folder in runs]
    assert accuracies[0] == pytest.approx(accuracies[1], rel=1e-4)


@pytest.mark.slow
def test_an_error_of_one_rank_is_told_and_ends_all(runs) -> None:
    _, together = runs
    (together / "align" / "train" / "pdfs.npy").write_bytes(b"")
    done = run(*torchrun(2), "-m", "kd_asr", "ensemble", together)
    assert done.returncode != 0
    assert done.stderr.count("kd-asr: error:") == 1
