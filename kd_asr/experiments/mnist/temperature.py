"""Experiment `temperature` of the MNIST recipe: students of several widths and temperatures, compared on dev."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.distillation.objectives import hinton_losses
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import (
    CHOOSING_TEACHER,
    digit_job,
    digit_log_posteriors,
    network_as_teacher,
    train,
    train_teachers,
)
from kd_asr.experiments.mnist.settings import DigitNetworkSettings, MnistSettings
from kd_asr.jobs.job import Job, as_name, network_seed
from kd_asr.jobs.systems import NetworkRef
from kd_asr.tasks.digits import DIGITS, DigitArrays


def temperature(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train a student of each width at each temperature into `temperature/`; test is not read.

    Students with the same width and number have the same initial weights and order of the images, so that they differ
    only in their temperature. `wrong.npy` has the errors of every student on dev, (students, images) bool, in the order
    of the metrics' rows.
    """
    source = digits(run_dir, settings)
    train_teachers(run_dir, settings, [CHOOSING_TEACHER])
    points, jobs = zip(*temperature_jobs(settings), strict=True)
    trained = train(run_dir, settings, jobs, f"{len(jobs)} students")

    def work(folder: Path) -> dict[str, Any]:
        arrays = DigitArrays.load(load_artifact(run_dir, DIGITS).path)
        labels = arrays.train_labels[arrays.dev].numpy()
        outputs = digit_log_posteriors(run_dir, settings, [[NetworkRef(job.name)] for job in jobs], "dev")
        wrong = np.stack([one.argmax(axis=1) != labels for one in outputs])
        np.save(folder / "wrong.npy", wrong)
        rows = [
            {
                "width": width,
                "temperature": temperature,
                "dev_errors": int(errors),
                "dev_cross_entropy": artifact.metrics["dev_cross_entropy"],
            }
            for (width, temperature), artifact, errors in zip(points, trained, wrong.sum(axis=1), strict=True)
        ]
        return {"dev": len(labels), "rows": rows}

    return build_artifact(
        run_dir,
        "temperature",
        code=__name__,
        settings={"networks": [job.name for job in jobs]},
        inputs=[source, *trained],
        work=work,
    )


def temperature_jobs(settings: MnistSettings) -> list[tuple[tuple[int, float], Job]]:
    """Width, temperature and job of each student; the longest job first, so that no core is idle at the end.

    Students with the same width and number have the same seed.
    """
    grid = settings.temperature
    found = [
        (
            (width, temperature),
            digit_job(
                f"networks/width-{width}-temperature-{as_name(temperature)}-{number:02d}",
                _of_width(settings, width),
                seed=network_seed(settings.seed, f"width-{width}-{number}"),
                images="all but dev",
                teacher=network_as_teacher(settings, CHOOSING_TEACHER),
                losses=hinton_losses(temperature=temperature, soft_weight=1.0, hard_weight=grid.hard_weight),
            ),
        )
        for width, students in zip(grid.widths, grid.students, strict=True)
        for number in range(students)
        for temperature in grid.temperatures
    ]
    return sorted(found, key=lambda one: -one[0][0])


def _of_width(settings: MnistSettings, width: int) -> DigitNetworkSettings:
    """Recipe of a student with `width` hidden units per layer."""
    network = settings.distilled.network
    narrow = replace(network, settings=replace(network.settings, hidden_units=width))
    return replace(settings.distilled, network=narrow, epochs=settings.temperature.epochs)
