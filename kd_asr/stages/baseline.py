"""Stage `baseline`: networks on hard labels, for comparison with the students."""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.stages.controls import control_jobs
from kd_asr.stages.plan import baseline_jobs
from kd_asr.stages.settings import Settings
from kd_asr.stages.train import train


def baseline(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Train the baselines into `baseline/baseline-00`, ..., and those with the size and the updates of students."""
    jobs = [*baseline_jobs(settings), *(job for job in control_jobs(settings) if job.teacher is None)]
    return train(run_dir, settings, jobs, f"baselines ({len(jobs)})")
