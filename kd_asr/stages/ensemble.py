"""Stage `ensemble`: the teachers, which differ only in initial weights and order of the data."""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.stages.plan import member_jobs
from kd_asr.stages.settings import Settings
from kd_asr.stages.train import train


def ensemble(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Train the members into `ensemble/member-00`, `ensemble/member-01`, ..."""
    jobs = member_jobs(settings)
    return train(run_dir, settings, jobs, f"ensemble of {len(jobs)}")
