"""Experiment `table` of the MNIST recipe: teachers, students on hard labels, distilled students, the ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.mnist_config import MnistSettings
from kd_asr.stages.mnist_digits import NAME as DIGITS
from kd_asr.stages.mnist_digits import DigitArrays, digits
from kd_asr.stages.mnist_networks import (
    DigitTask,
    digit_log_posteriors,
    posteriors_name,
    store_ensemble,
    teacher_name,
    teacher_task,
    train_digit_networks,
)
from kd_asr.stages.systems import network_seed

ENSEMBLE_POSTERIORS = "posteriors/ensemble"


def systems(settings: MnistSettings) -> dict[str, list[list[str]]]:
    """The compared systems, each with the networks of every repetition; only the ensemble's are several."""
    members = [teacher_name(number) for number in range(settings.members)]
    return {
        "teacher": [[teacher_name(number)] for number in range(settings.seeds)],
        "hard": [[f"networks/hard-{number:02d}"] for number in range(settings.seeds)],
        "distilled": [[f"networks/distilled-{number:02d}"] for number in range(settings.seeds)],
        "ensemble": [members],
        "ensemble student": [
            [f"networks/ensemble-student-{number:02d}"]
            for number in range(min(settings.ensemble_students, settings.seeds))
        ],
    }


def table(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train what is missing and count the errors on test; `table/wrong.npy` says which images
    every repetition of every system got wrong, (repetitions, images) bool.

    The first members of the ensemble are the teachers of the students, the ones and the others by their numbers.
    """
    laid = digits(run_dir, settings)
    named = systems(settings)
    teachers = [teacher_name(number) for number in range(max(settings.members, settings.seeds))]
    tasks = [teacher_task(run_dir, settings, name) for name in teachers]
    trained = train_digit_networks(tasks, description=f"{len(tasks)} teachers")
    store_ensemble(run_dir, ENSEMBLE_POSTERIORS, named["ensemble"][0])
    # None beside teachers, which take the cache from students and a third of their speed.
    tasks = [_student(run_dir, settings, name, "") for [name] in named["hard"]]
    tasks += [
        _student(run_dir, settings, name, posteriors_name(teacher))
        for [name], [teacher] in zip(named["distilled"], named["teacher"], strict=True)
    ]
    tasks += [_student(run_dir, settings, name, ENSEMBLE_POSTERIORS) for [name] in named["ensemble student"]]
    trained += train_digit_networks(tasks, description=f"{len(tasks)} students")

    def work(folder: Path) -> dict[str, Any]:
        labels = DigitArrays.load(load_artifact(run_dir, DIGITS).path).test_labels.numpy()
        repetitions = [(system, names) for system, all_names in named.items() for names in all_names]
        outputs = digit_log_posteriors(run_dir, [names for _, names in repetitions], "test")
        wrong = np.stack([one.argmax(axis=1) != labels for one in outputs])
        np.save(folder / "wrong.npy", wrong)
        rows: dict[str, list[int]] = {system: [] for system in named}
        for (system, _), errors in zip(repetitions, wrong.sum(axis=1).tolist(), strict=True):
            rows[system].append(errors)
        sizes = {artifact.name: artifact.metrics["parameters"] for artifact in trained}
        parameters = {system: sum(sizes[name] for name in all_names[0]) for system, all_names in named.items()}
        return {"test_errors": rows, "test": len(labels), "parameters": parameters}

    return build_artifact(
        run_dir,
        "table",
        code=__name__,
        settings={"systems": named},
        inputs=[laid, *trained],
        work=work,
    )


def _student(run_dir: Path, settings: MnistSettings, name: str, posteriors: str) -> DigitTask:
    return DigitTask(
        run_dir,
        name,
        network_seed(settings.seed, name),
        settings.distilled if posteriors else settings.hard,
        posteriors=posteriors,
        objective=settings.distil if posteriors else None,
        jobs=settings.jobs,
    )
