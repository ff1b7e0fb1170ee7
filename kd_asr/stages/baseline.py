"""Stage `baseline`: one network on hard labels."""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.config import Settings
from kd_asr.stages.networks import NetworkTask, train_networks
from kd_asr.stages.systems import BASELINE, network_seed


def baseline_task(run_dir: Path, settings: Settings) -> NetworkTask:
    """The training of the baseline."""
    return NetworkTask(run_dir, BASELINE, "baseline", network_seed(settings.seed, BASELINE), "hard", settings)


def baseline(run_dir: Path, settings: Settings) -> Artifact:
    """Train the baseline into `baseline/`."""
    return train_networks([baseline_task(run_dir, settings)], description="baseline")[0]
