"""Stage `ensemble`: the teachers, which differ only in initial weights and order of the data."""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.device import find_device
from kd_asr.jobs.run import run
from kd_asr.stages.plan import member_jobs
from kd_asr.stages.settings import Settings


def ensemble(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Train the members into `ensemble/member-00`, `ensemble/member-01`, ..."""
    jobs = member_jobs(settings)
    device = find_device(settings.device)
    return run(
        jobs,
        run_dir,
        processes=settings.jobs,
        device=device,
        batch_jobs=settings.batch_jobs,
        description=f"ensemble of {len(jobs)}",
    )
