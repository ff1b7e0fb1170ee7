"""Stage `baseline`: networks on hard labels, for comparison with the students."""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.device import find_device
from kd_asr.jobs.run import run
from kd_asr.stages.controls import control_jobs
from kd_asr.stages.plan import baseline_jobs
from kd_asr.stages.settings import Settings


def baseline(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Train the baselines into `baseline/baseline-00`, ..., and those with the size and the updates of students."""
    jobs = [*baseline_jobs(settings), *(job for job in control_jobs(settings) if job.teacher is None)]
    device = find_device(settings.device)
    return run(
        jobs,
        run_dir,
        processes=settings.jobs,
        device=device,
        batch_jobs=settings.batch_jobs,
        description=f"baselines ({len(jobs)})",
    )
