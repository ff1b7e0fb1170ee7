"""Stage `sweep`: one student for each temperature and weight of the hard loss, compared on dev."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.stages.networks import NetworkTask, train_networks
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import as_student, network_seed


def sweep(run_dir: Path, settings: Settings) -> Artifact:
    """Train the students into `sweep_networks/`; `sweep/` lists their figures on dev, for the report.

    With no temperatures the list is empty. All have the same initial weights and order of the data, so that they differ
    in their objective alone.
    """
    distil = settings.distil
    points = [(t, weight) for t in distil.sweep_temperatures for weight in distil.sweep_hard_weights]
    tasks = [
        NetworkTask(
            run_dir,
            f"sweep_networks/temperature-{temperature:g}-hard-{weight:g}",
            "sweep",
            network_seed(settings.seed, "sweep"),
            "soft",
            as_student(
                replace(settings, distil=replace(distil, temperature=temperature, hard_weight=weight)), "soft"
            ),
        )
        for temperature, weight in points
    ]
    students = train_networks(tasks, description=f"sweep of {len(tasks)} students") if tasks else []

    def work(folder: Path) -> dict[str, Any]:
        rows = [
            {
                "temperature": temperature,
                "soft_weight": distil.soft_weight,
                "hard_weight": weight,
                "dev_frame_accuracy": student.metrics["dev_frame_accuracy"],
                "dev_cross_entropy": student.metrics["dev_cross_entropy"],
            }
            for (temperature, weight), student in zip(points, students, strict=True)
        ]
        return {"rows": rows}

    return build_artifact(
        run_dir,
        "sweep",
        code=__name__,
        settings={"points": points, "soft_weight": distil.soft_weight},
        inputs=students,
        work=work,
    )
