"""A run that is killed again and again ends with the figures of one that never was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kd_asr.cli import STAGES, main
from kd_asr.corpora.synthetic import MINIATURE, synthesize

TINY = Path(__file__).parent.parent / "recipes" / "conf" / "tiny.yaml"
SPEECH = 7  # seed


def configure(run_dir: Path, data: Path) -> None:
    flags = ["--corpus", "embedded", "--data", str(data), "--config", str(TINY), f"--seed={SPEECH}"]
    assert main(["configure", str(run_dir), *flags, "--train.checkpoint_seconds", "0"]) == 0


def start(stage: str, run_dir: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "kd_asr.cli", stage, str(run_dir)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_ten_times_it_ends_with_the_same_figures(tmp_path) -> None:
    data = tmp_path / "data"
    synthesize(data / "embedded_miniature", seed=SPEECH, size=MINIATURE)
    figures, kills = [], []
    for name in ("whole", "killed"):
        run_dir = tmp_path / name
        configure(run_dir, data)
        rng = random.Random(3)
        for stage in STAGES:
            while True:
                process = start(stage.name, run_dir)
                if name == "killed" and len(kills) < 10 and rng.random() < 0.7:
                    time.sleep(rng.uniform(0.5, 8.0))
                    if process.poll() is None:
                        # The command alone dies, not its group: its workers have to notice by themselves.
                        os.kill(process.pid, signal.SIGKILL)
                        kills.append(stage.name)
                        process.wait()
                        continue
                assert process.wait() == 0, stage.name
                break
        figures.append(json.loads((run_dir / "report" / "report.json").read_text())["figures"])
    assert len(kills) == 10, kills
    assert figures[0] == figures[1]
