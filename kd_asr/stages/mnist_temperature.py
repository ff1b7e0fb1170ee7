"""Experiment `temperature` of the MNIST recipe: students of several widths and temperatures, compared on dev."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.mnist_config import DigitNetworkSettings, MnistSettings
from kd_asr.stages.mnist_digits import NAME as DIGITS
from kd_asr.stages.mnist_digits import DigitArrays, digits
from kd_asr.stages.mnist_networks import (
    CHOOSING_TEACHER,
    DigitTask,
    digit_log_posteriors,
    posteriors_name,
    train_digit_networks,
    train_teachers,
)
from kd_asr.stages.systems import network_seed


def _of_width(settings: MnistSettings, width: int) -> DigitNetworkSettings:
    """What a student of `width` hidden units in each layer is."""
    network = settings.distilled.network
    narrow = replace(network, settings=replace(network.settings, hidden_units=width))
    return replace(settings.distilled, network=narrow, epochs=settings.temperature.epochs)


def temperature(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train a student of each width at each temperature: `temperature/`; test is not read.

    Students of equal width and number have the same initial weights and order of the images, so that they differ in
    their temperature alone. `wrong.npy` says which dev images every student got wrong, (students, images) bool, in
    the order of the metrics' rows.
    """
    laid = digits(run_dir, settings)
    train_teachers(run_dir, settings, [CHOOSING_TEACHER])
    grid = settings.temperature
    points = [
        (width, number, degrees)
        for width, students in zip(grid.widths, grid.students, strict=True)
        for number in range(students)
        for degrees in grid.temperatures
    ]
    tasks = [
        DigitTask(
            run_dir,
            f"networks/width-{width}-temperature-{degrees:g}-{number:02d}",
            network_seed(settings.seed, f"width-{width}-{number}"),
            _of_width(settings, width),
            images="all but dev",
            posteriors=posteriors_name(CHOOSING_TEACHER),
            objective=replace(settings.distil, temperature=degrees),
            jobs=settings.jobs,
        )
        for width, number, degrees in points
    ]
    # The longest first, so that no core is left idle at the end.
    tasks.sort(key=lambda task: -task.recipe.network.settings.hidden_units)
    described = f"{len(tasks)} students"
    trained = {artifact.name: artifact for artifact in train_digit_networks(tasks, description=described)}

    def work(folder: Path) -> dict[str, Any]:
        arrays = DigitArrays.load(load_artifact(run_dir, DIGITS).path)
        labels = arrays.train_labels[arrays.dev].numpy()
        outputs = digit_log_posteriors(run_dir, [[task.name] for task in tasks], "dev")
        wrong = np.stack([one.argmax(axis=1) != labels for one in outputs])
        np.save(folder / "wrong.npy", wrong)
        rows = [
            {
                "width": task.recipe.network.settings.hidden_units,
                "temperature": task.objective.temperature if task.objective else None,
                "dev_errors": int(errors),
                "dev_cross_entropy": trained[task.name].metrics["dev_cross_entropy"],
            }
            for task, errors in zip(tasks, wrong.sum(axis=1), strict=True)
        ]
        return {"dev": len(labels), "rows": rows}

    return build_artifact(
        run_dir,
        "temperature",
        code=__name__,
        settings={"networks": [task.name for task in tasks]},
        inputs=[laid, *trained.values()],
        work=work,
    )
