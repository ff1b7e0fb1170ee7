"""A run that is killed again and again ends with the figures and the bits of one that never was.

It also works with another number of processes, so that this is the test that the same seed gives the same bits.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kd_asr.cli.stages import STAGES

PROJECT = Path(__file__).parent.parent
KILLS = 10
# Each of these is hit at least once; the other moments may fall anywhere.
LONG = ("align", "ensemble", "posteriors", "distil", "decode")


@dataclass(frozen=True)
class Recipe:
    """The recipe in a folder of its own, whose `.venv` is the Python that runs the tests."""

    root: Path

    @classmethod
    def install(cls, root: Path) -> Recipe:
        shutil.copytree(PROJECT / "recipes", root / "recipes")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copyfile(PROJECT / name, root / name)
        programs = root / ".venv" / "bin"
        programs.mkdir(parents=True)
        (programs / "kd-asr").write_text(f'#!/bin/sh\nexec {sys.executable} -m kd_asr "$@"\n')
        (programs / "kd-asr").chmod(0o755)
        # As recipes/setup.sh leaves it: there is nothing to install.
        stamp = 'printf "%s\\n" "$(cat pyproject.toml constraints.txt | cksum) $PWD" > .venv/.kd_asr_stamp'
        subprocess.run(["bash", "-c", stamp], cwd=root, check=True)
        return cls(root)

    def start(self, run_dir: Path, jobs: int) -> subprocess.Popen[bytes]:
        command = ["bash", str(self.root / "recipes" / "run_librispeech_subset.sh"), "--out", str(run_dir)]
        command += ["--corpus", "embedded", "--preset", "tiny", "--seed", "7", f"--jobs={jobs}"]
        command += ["--train.checkpoint_seconds=0", "--decode.acoustic_scales=[0.2,0.3]"]
        command += ["--decode.insertion_penalties=[0.0,1.0]"]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHON": "/nonexistent"}
        with (self.root / "log").open("wb") as log:
            return subprocess.Popen(command, start_new_session=True, env=environment, stdout=log, stderr=log)

    def has_begun(self, run_dir: Path, artifact: str, since: float) -> bool:
        """Whether the recipe, started at `since`, makes an artifact, anew or on from where it was killed."""
        path = run_dir / artifact
        try:
            anew = (path.with_name(f".{path.name}.partial") / "fingerprint").stat().st_mtime > since
        except OSError:
            anew = False
        return anew or f"{artifact}: going on from" in (self.root / "log").read_text(errors="replace")

    def finish(self, run_dir: Path, jobs: int) -> None:
        assert self.start(run_dir, jobs).wait() == 0, (self.root / "log").read_text()[-2000:]


def wall_seconds(run_dir: Path) -> dict[str, float]:
    """Seconds that each artifact took."""
    paths = sorted(run_dir.rglob("manifest.json"))
    return {str(path.parent.relative_to(run_dir)): json.loads(path.read_text())["wall_seconds"] for path in paths}


def stage_of(artifact: str) -> str:
    """The recipe's stage that makes it."""
    stage = artifact.split("/", maxsplit=1)[0]
    # The baselines are trained beside the students.
    return {"baseline": "distil", "sweep_networks": "sweep"}.get(stage, stage)


def at_work(run_dir: Path) -> set[str]:
    """Artifacts that are being made, or were when their command was killed."""
    found = [*run_dir.glob(".*.partial"), *run_dir.glob("[!.]*/.*.partial")]
    return {str(path.relative_to(run_dir).with_name(path.name[1:].removesuffix(".partial"))) for path in found}


def plan(seconds: dict[str, float], rng: random.Random) -> list[str]:
    """Artifacts in whose making a kill falls, in the order of the work; more often in those that take longer."""
    chosen = []
    for stage in LONG:
        names = [name for name in seconds if stage_of(name) == stage]
        chosen += rng.choices(names, [seconds[name] for name in names])
    others = {name: spent for name, spent in seconds.items() if spent > 0.2}  # shorter ones would be over unseen
    chosen += rng.choices(list(others), list(others.values()), k=KILLS - len(LONG))
    order = [stage.name for stage in STAGES]
    systems = ["tuning-baseline", "baseline-00", "tuning-ensemble", "ensemble", "tuning-distilled"]

    def place(name: str) -> tuple[int, int, str]:
        rest = name.partition("/")[2]
        return order.index(stage_of(name)), systems.index(rest) if rest in systems else len(systems), rest

    return sorted(chosen, key=place)


def proc(pid: int, name: str) -> str:
    """A file of /proc; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    return [int(child) for child in proc(pid, f"task/{pid}/children").split()]


def kill(process: subprocess.Popen[bytes], *, whole_group: bool) -> None:
    """SIGKILL to the recipe and all it started, or to the one command: its workers have to notice by themselves."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL) if whole_group else process.kill()
        assert process.wait() == -signal.SIGKILL


def contents(run_dir: Path) -> dict[str, bytes]:
    """All that the run has made, but for what tells of time and of jobs."""
    found = {}
    for path in sorted(run_dir.rglob("*")):
        name = path.relative_to(run_dir).as_posix()
        timed = path.name in ("manifest.json", "settings.yaml", ".lock", "report.json", "report.md", "frames.json")
        timed = timed or name.startswith("decode/")
        if path.is_file() and not timed:
            found[name] = path.read_bytes()
    return found


def report_without_time(run_dir: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((run_dir / "report" / "report.json").read_text())
    del report["timings"], report["settings"]["jobs"]
    return report


def compare(run_dir: Path, whole: Path) -> None:
    assert report_without_time(run_dir) == report_without_time(whole)
    found, expected = contents(run_dir), contents(whole)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    assert "distil/student-00/model.safetensors" in found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc")
def test_killed_ten_times_it_ends_with_the_same_figures_and_bits(tmp_path: Path) -> None:
    recipe = Recipe.install(tmp_path / "project")
    whole, run_dir = tmp_path / "whole", tmp_path / "killed"
    recipe.finish(whole, jobs=1)
    seconds = wall_seconds(whole)
    rng = random.Random()  # other moments each time
    hits: list[tuple[str, int, float]] = []
    for number, wanted in enumerate(plan(seconds, rng)):
        while len(hits) == number:
            started = time.time()
            process = recipe.start(run_dir, jobs=2)
            while process.poll() is None and not recipe.has_begun(run_dir, wanted, started):
                time.sleep(0.01)
            delay = rng.uniform(0, 0.2 + 0.8 * seconds[wanted])
            time.sleep(delay)
            workers, running = len(children(process.pid)), process.poll() is None and wanted in at_work(run_dir)
            if running:
                hits.append((wanted, workers, round(delay, 2)))
            kill(process, whole_group=number % 2 == 0)
            if not running:  # too late: it has to be made once more
                shutil.rmtree(run_dir / wanted, ignore_errors=True)
    print(*hits, sep="\n")  # what was killed, with how many worker processes, how many seconds after it had begun
    assert set(LONG) <= {stage_of(name) for name, *_ in hits}
    recipe.finish(run_dir, jobs=2)
    compare(run_dir, whole)
    assert not list(run_dir.rglob(".*.partial"))
