"""Experiment `table` of the MNIST recipe: teachers, students on hard labels, distilled students, the ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.distillation.objectives import HARD
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import (
    digit_job,
    digit_log_posteriors,
    losses_of,
    posteriors_name,
    store_posteriors,
    teacher_name,
    train,
    train_teachers,
)
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.jobs.job import Job, network_seed
from kd_asr.tasks.digits import DIGITS, DigitArrays

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
    source = digits(run_dir, settings)
    named = systems(settings)
    teachers = [teacher_name(number) for number in range(max(settings.members, settings.seeds))]
    trained = train_teachers(run_dir, settings, teachers)
    store_posteriors(run_dir, settings, {ENSEMBLE_POSTERIORS: named["ensemble"][0]})
    # None beside teachers, which take the cache from students and a third of their speed.
    jobs = student_jobs(settings)
    trained += train(run_dir, settings, jobs, f"{len(jobs)} students")

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
        inputs=[source, *trained],
        work=work,
    )


def student_jobs(settings: MnistSettings) -> list[Job]:
    """Students on hard labels, of one teacher each, and of the ensemble."""
    named = systems(settings)
    jobs = [_student(settings, name, "") for [name] in named["hard"]]
    jobs += [
        _student(settings, name, posteriors_name(teacher))
        for [name], [teacher] in zip(named["distilled"], named["teacher"], strict=True)
    ]
    return jobs + [_student(settings, name, ENSEMBLE_POSTERIORS) for [name] in named["ensemble student"]]


def _student(settings: MnistSettings, name: str, posteriors: str) -> Job:
    return digit_job(
        name,
        settings.distilled if posteriors else settings.hard,
        seed=network_seed(settings.seed, name),
        posteriors=posteriors,
        losses=losses_of(settings.distil) if posteriors else HARD,
    )
