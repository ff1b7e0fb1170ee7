"""Trainings of a stage, as the run's settings say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.device import find_device
from kd_asr.jobs.job import Job
from kd_asr.jobs.run import run
from kd_asr.stages.settings import Settings


def train(run_dir: Path, settings: Settings, jobs: Sequence[Job], description: str) -> list[Artifact]:
    """Train the networks that are missing; `description` is that of the progress bar."""
    return run(
        jobs,
        run_dir,
        processes=settings.jobs,
        device=find_device(settings.device),
        batch_jobs=settings.batch_jobs,
        description=description,
    )
