"""Stage `baseline`: networks on hard labels, which the students are compared with."""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.stages.networks import NetworkTask, train_networks
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import as_student, baseline_names, network_seed


def baseline_tasks(run_dir: Path, settings: Settings) -> list[NetworkTask]:
    """The trainings of the baselines."""
    return [
        NetworkTask(run_dir, name, "baseline", network_seed(settings.seed, name), "hard", as_student(settings, "hard"))
        for name in baseline_names(settings)
    ]


def baseline(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Train the baselines into `baseline/baseline-00`, ..."""
    tasks = baseline_tasks(run_dir, settings)
    return train_networks(tasks, description=f"baselines ({len(tasks)})")
