"""Stage `ensemble`: the teachers, equal to the baseline but for initial weights and order of the data."""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.stages.networks import NetworkTask, train_networks
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import as_teacher, member_names, network_seed


def ensemble(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Train the members into `ensemble/member-00`, `ensemble/member-01`, ..."""
    tasks = [
        NetworkTask(run_dir, name, "ensemble", network_seed(settings.seed, name), "hard", as_teacher(settings))
        for name in member_names(settings)
    ]
    return train_networks(tasks, description=f"ensemble of {len(tasks)}")
