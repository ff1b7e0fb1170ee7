"""Maps on clusters: Slurm's jobs as submitit starts them on one machine, and Ray on one machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_work import FLAGS, kill_job, kill_worker, refuse, set_offset, told
from conftest import make_prepared

from kd_asr.cli import main
from kd_asr.device import HOST, Device, find_device
from kd_asr.errors import UserError
from kd_asr.executors.base import ClusterExecutor, make_executor
from kd_asr.executors.shares import executing
from kd_asr.parallel import parallel_map
from kd_asr.registry import Named, find, named
from kd_asr.settings.files import save_settings
from kd_asr.stages.settings import parse_settings

EXECUTORS = [pytest.param(name, marks=[pytest.mark.slow] * (name == "ray")) for name in sorted(FLAGS)]


def cluster(name: str, *flags: str) -> Named:
    pytest.importorskip(name)
    return parse_settings([*FLAGS[name], *flags]).executor


@pytest.fixture(scope="module", params=EXECUTORS)
def inside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run whose maps are computed by an executor."""
    run_dir = tmp_path_factory.mktemp(request.param)
    with executing(cluster(request.param), run_dir):
        yield run_dir


def test_jobs_give_results_in_order_through_files_that_go_when_they_are_read(inside, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = list(parallel_map(told, range(5), description="x", unit="items", initializer=set_offset, initargs=(5,)))
    assert [one[0] for one in found] == [number * number + 5 for number in range(5)]
    assert len({one[1] for one in found} - {os.getpid()}) == 2
    assert {one[2] for one in found} == {str(tmp_path)}
    assert [(len(one[3]), one[3][0]) for one in found] == [(3_000_000, number) for number in range(5)]
    [folder] = (inside / ".cluster").glob("map-*")
    assert [float(path.read_text()) for path in sorted(folder.glob("progress-*"))] == [30.0, 20.0]
    assert sum(path.stat().st_size for path in inside.rglob("*") if path.is_file()) < 100_000


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (refuse, r"^audio/2\.flac is damaged: leave it out$"),
        (kill_worker, r"^train: a worker process was killed.*--jobs 1 of `kd-asr"),
        (kill_job, r"^train: job [12] of 2 ended without its results \(.*give jobs more time"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="finds the job in /proc")
def test_errors_of_jobs_come_through_as_the_same_sentence(inside: Path, function, message) -> None:
    with pytest.raises(UserError, match=message):
        list(parallel_map(function, [1, 2], description="train", unit="items"))


@pytest.mark.skipif(sys.platform != "linux", reason="finds the job in /proc")
def test_jobs_of_a_killed_command_end_when_the_next_one_begins(tmp_path) -> None:
    pytest.importorskip("submitit")
    mark = tmp_path / "pid"
    code = f"import cluster_work; cluster_work.interrupted_command({str(tmp_path)!r}, {str(mark)!r})"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths})
    while not (mark.exists() and mark.read_text()):
        assert command.poll() is None
        time.sleep(0.05)
    worker = Path("/proc", mark.read_text(), "stat")
    command.kill()
    command.wait()
    with executing(named("executor", "local"), tmp_path):
        assert not worker.exists() or worker.read_text().rsplit(")")[-1].split()[0] == "Z"
    assert not (tmp_path / ".cluster").exists()


def test_an_executor_whose_package_is_missing_is_refused_with_what_to_install() -> None:
    class Missing(find("executor", "submitit")):  # type: ignore[misc]
        package = "kd_asr_of_nowhere"

    with pytest.raises(UserError, match=r"kd_asr_of_nowhere is not installed.*pip install kd-asr\[cluster\]"):
        Missing(named("executor", "submitit").settings).check()


def test_settings_of_an_executor_are_checked() -> None:
    with pytest.raises(UserError, match=r"slurm: 'qos' is not of the form name=value"):
        parse_settings(["--executor.submitit.slurm=account=a,qos"])
    with pytest.raises(UserError, match="no executor 'slurm'"):
        parse_settings(["--executor=slurm"])


def test_networks_are_trained_on_the_cards_of_jobs(tmp_path) -> None:
    plain, carded = (cluster("submitit", *more) for more in ([], ["--executor.submitit.gpu=true"]))
    with executing(plain, tmp_path):
        assert find_device("auto") == find_device("cpu") == HOST
        with pytest.raises(UserError, match="ask for no card"):
            find_device("cuda")
    with executing(carded, tmp_path):
        assert find_device("auto") == find_device("cuda") == Device("cuda")
        assert find_device("cuda").processes(3) == 3
        with pytest.raises(UserError, match="one card each"):
            find_device("cuda:1")
    assert isinstance(make_executor(carded), ClusterExecutor)
    assert find_device("cpu") == HOST


@pytest.mark.slow
def test_a_stage_makes_the_same_bits_by_jobs(tmp_path, run_dir, settings, utterances) -> None:
    elsewhere = Path(tmp_path / "elsewhere")
    elsewhere.mkdir()
    for folder, chosen in ((run_dir, named("executor", "local")), (elsewhere, cluster("submitit"))):
        save_settings(folder, replace(settings, executor=chosen))
        make_prepared(folder, utterances)
        assert main(["features", str(folder)]) == 0
    assert not (elsewhere / ".cluster").exists()
    for path in (run_dir / "features").rglob("*.*"):
        if path.name != "manifest.json":
            assert path.read_bytes() == (elsewhere / "features" / path.relative_to(run_dir / "features")).read_bytes()
