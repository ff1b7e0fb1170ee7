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
from kd_asr.jobs.systems import Group, NetworkRef, System, Systems, single_systems
from kd_asr.tasks.digits import DIGITS, DigitArrays

ENSEMBLE_POSTERIORS = "posteriors/ensemble"


def table_systems(settings: MnistSettings) -> Systems:
    """The compared systems, of which each group has one for every repetition; only the ensemble is of several networks.

    The first members of the ensemble are the teachers of the students.
    """
    seeds = range(settings.seeds)
    of_group = {
        Group(
            "teacher",
            "teacher",
            "teacher",
            note="dropout, max-norm, jitter",
            paper="large network",
        ): single_systems("teacher", [teacher_name(number) for number in seeds]),
        Group(
            "hard",
            "hard labels",
            "reference",
            note="student",
            noun="student on hard labels",
            paper="small network, hard labels",
        ): single_systems("hard", [f"networks/hard-{number:02d}" for number in seeds]),
        Group(
            "distilled",
            "distilled",
            "student",
            note="student of one teacher",
            noun="distilled student",
            paper="small network, distilled",
        ): single_systems("distilled", [f"networks/distilled-{number:02d}" for number in seeds]),
        Group("ensemble", "ensemble", note="of the teachers"): (
            System("ensemble", "ensemble", tuple(NetworkRef(teacher_name(one)) for one in range(settings.members))),
        ),
        Group("ensemble student", "distilled from the ensemble", note="student"): single_systems(
            "ensemble student",
            [f"networks/ensemble-student-{number:02d}" for number in seeds[: settings.ensemble_students]],
        ),
    }
    groups = tuple(group for group, systems in of_group.items() if systems)
    return Systems(groups, tuple(system for group in groups for system in of_group[group]))


def table(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train what is missing and count the errors on test; `table/wrong.npy` says which images
    every repetition of every system got wrong, (repetitions, images) bool."""
    source = digits(run_dir, settings)
    systems = table_systems(settings)
    teachers = [teacher_name(number) for number in range(max(settings.members, settings.seeds))]
    trained = train_teachers(run_dir, settings, teachers)
    members = [one.artifact for one in systems.system("ensemble").members]
    store_posteriors(run_dir, settings, {ENSEMBLE_POSTERIORS: members})
    # None beside teachers, which take the cache from students and a third of their speed.
    jobs = student_jobs(settings)
    trained += train(run_dir, settings, jobs, f"{len(jobs)} students")

    def work(folder: Path) -> dict[str, Any]:
        labels = DigitArrays.load(load_artifact(run_dir, DIGITS).path).test_labels.numpy()
        networks = [[one.artifact for one in system.members] for system in systems.systems]
        outputs = digit_log_posteriors(run_dir, networks, "test")
        wrong = np.stack([one.argmax(axis=1) != labels for one in outputs])
        np.save(folder / "wrong.npy", wrong)
        errors = dict(zip((system.name for system in systems.systems), wrong.sum(axis=1).tolist(), strict=True))
        sizes = {artifact.name: artifact.metrics["parameters"] for artifact in trained}
        firsts = {group.name: systems.of_group(group)[0] for group in systems.groups}
        return {
            "groups": systems.to_json(),
            "test_errors": {
                group.name: [errors[system.name] for system in systems.of_group(group)] for group in systems.groups
            },
            "test": len(labels),
            "parameters": {
                group: sum(sizes[one.artifact] for one in system.members) for group, system in firsts.items()
            },
        }

    return build_artifact(
        run_dir,
        "table",
        code=__name__,
        settings={"systems": systems.systems},
        inputs=[source, *trained],
        work=work,
    )


def student_jobs(settings: MnistSettings) -> list[Job]:
    """Students on hard labels, of one teacher each, and of the ensemble."""
    systems = table_systems(settings).systems

    def networks(group: str) -> list[str]:
        return [system.members[0].artifact for system in systems if system.group == group]

    jobs = [_student(settings, name, "") for name in networks("hard")]
    jobs += [
        _student(settings, name, posteriors_name(teacher))
        for name, teacher in zip(networks("distilled"), networks("teacher"), strict=True)
    ]
    return jobs + [_student(settings, name, ENSEMBLE_POSTERIORS) for name in networks("ensemble student")]


def _student(settings: MnistSettings, name: str, posteriors: str) -> Job:
    return digit_job(
        name,
        settings.distilled if posteriors else settings.hard,
        seed=network_seed(settings.seed, name),
        posteriors=posteriors,
        losses=losses_of(settings.distil) if posteriors else HARD,
    )
