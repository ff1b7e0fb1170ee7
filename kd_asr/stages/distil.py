"""Stage `distil`: students of the baseline's architecture and budget, on the ensemble's posteriors and hard labels."""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.stages.baseline import baseline_tasks
from kd_asr.stages.networks import NetworkTask, train_networks
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import as_student, network_seed, student_names


def distil(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Train the students into `distil/student-00`, ..., and the baselines, unless they are there.

    The baselines need nothing of the ensemble, but beside the students they leave no core idle.
    """
    students = [
        NetworkTask(run_dir, name, "distil", network_seed(settings.seed, name), "soft", as_student(settings, "soft"))
        for name in student_names(settings)
    ]
    baselines = baseline_tasks(run_dir, settings)
    return train_networks(
        [*students, *baselines], description=f"students ({len(students)}), baselines ({len(baselines)})"
    )
