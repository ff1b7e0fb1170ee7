"""Stage `distil`: students of the baseline's architecture and budget, on the ensemble's posteriors and hard labels."""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.config import Settings
from kd_asr.stages.networks import NetworkTask, train_networks
from kd_asr.stages.systems import network_seed, student_names


def distil(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Train the students into `distil/student-00`, `distil/student-01`, ..."""
    tasks = [
        NetworkTask(run_dir, name, "distil", network_seed(settings.seed, name), "soft", settings)
        for name in student_names(settings)
    ]
    return train_networks(tasks, description=f"students ({len(tasks)})")
