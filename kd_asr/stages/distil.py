"""Stage `distil`: students with the baseline's architecture and budget, on the ensemble's posteriors and hard
labels."""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.device import find_device
from kd_asr.stages.controls import control_jobs, share_jobs
from kd_asr.stages.plan import baseline_jobs, member_names, student_jobs
from kd_asr.stages.settings import Settings
from kd_asr.stages.train import train
from kd_asr.tasks.member_stores import fill_member_stores


def distil(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Train the students into `distil/student-00`, ..., the baselines and the controls, unless they are there.

    The baselines do not need the ensemble, but trained together with the students they leave no core idle.
    """
    students, baselines = student_jobs(settings), baseline_jobs(settings)
    shares = [job for jobs in share_jobs(settings).values() for job in jobs]
    students += [job for job in [*control_jobs(settings), *shares] if job not in students]
    fill_member_stores(
        run_dir,
        member_names(settings),
        wanted=[name for job in students for name in job.artifacts()],
        top_k=settings.ensemble.top_k,
        unlabelled=bool(settings.unlabelled_folders),
        precision=settings.train.precision,
        device=find_device(settings.device),
        processes=settings.jobs,
    )
    described = f"students ({len(students)}), baselines ({len(baselines)})"
    return train(run_dir, settings, [*students, *baselines], described)
