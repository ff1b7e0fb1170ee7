"""Stage `sweep`: one student for each temperature and weight of the hard loss, compared on dev."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.device import find_device
from kd_asr.jobs.run import run
from kd_asr.stages.plan import sweep_jobs, sweep_points
from kd_asr.stages.settings import Settings


def sweep(run_dir: Path, settings: Settings) -> Artifact:
    """Train the students into `sweep_networks/` and write their figures on dev into `sweep/`, for the report.

    Without temperatures there are none. All students have the same initial weights and order of the data, so that they
    differ only in their objective.
    """
    points, jobs = sweep_points(settings), sweep_jobs(settings)
    device = find_device(settings.device)
    students = run(
        jobs,
        run_dir,
        processes=settings.jobs,
        device=device,
        batch_jobs=settings.batch_jobs,
        description=f"sweep of {len(jobs)} students",
    )

    def work(folder: Path) -> dict[str, Any]:
        rows = [
            {
                "temperature": temperature,
                "soft_weight": 1.0,
                "hard_weight": weight,
                "dev_frame_accuracy": student.metrics["dev_accuracy"],
                "dev_cross_entropy": student.metrics["dev_cross_entropy"],
            }
            for (temperature, weight), student in zip(points, students, strict=True)
        ]
        return {"rows": rows}

    return build_artifact(
        run_dir,
        "sweep",
        code=__name__,
        settings={"points": points},
        inputs=students,
        work=work,
    )
