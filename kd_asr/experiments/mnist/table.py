"""Experiment `table` of the MNIST recipe: teachers, students on hard labels, distilled students, the ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.errors import UserError
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import (
    digit_job,
    digit_log_posteriors,
    network_as_teacher,
    on_part,
    posteriors_name,
    store_posteriors,
    teacher_name,
    train,
    train_teachers,
)
from kd_asr.experiments.mnist.settings import PAPER_LOSSES, MnistSettings
from kd_asr.jobs.job import Job, TeacherSpec, network_seed, teacher_spec
from kd_asr.jobs.systems import Group, NetworkRef, System, Systems, single_systems
from kd_asr.methods.base import NetworkAround, Plan, cohort, live, planned
from kd_asr.registry import Weighted, find, named
from kd_asr.tasks.digits import DIGITS, DigitArrays

ENSEMBLE_POSTERIORS = "posteriors/ensemble"


@dataclass(frozen=True)
class DigitTask:
    """Students that learn from one teacher each, or alone, for the methods.

    Attributes:
        settings: Settings of the run.
    """

    settings: MnistSettings
    paper_row = "small network, distilled"
    gives: frozenset[str] = frozenset()

    @property
    def students(self) -> int:
        """Students of each method."""
        return self.settings.seeds

    def teachers(self, number: int) -> Sequence[str]:
        """The teacher of the same number."""
        return (teacher_name(number),)

    @property
    def members(self) -> Sequence[str]:
        """All teachers."""
        return [teacher_name(member) for member in range(self.settings.members)]

    def one_by_one(self, members: Sequence[str]) -> TeacherSpec:
        """Teachers by their posterior stores, or live if the other students' teachers are."""
        if find("teacher", self.settings.distilled.teacher.name).source != "networks":
            return TeacherSpec(named("teacher", "members"), tuple(map(posteriors_name, members)))
        return live(*members)

    def taught(
        self,
        name: str,
        number: int,
        losses: Sequence[Weighted],
        *,
        teacher: TeacherSpec | None = None,
        network: NetworkAround | None = None,
    ) -> Job:
        """A student of the teacher of the same number, or of another teacher."""
        settings = self.settings
        asked = teacher or network_as_teacher(settings, teacher_name(number))
        if network is not None:
            around = network(settings.distilled.network)
            settings = replace(settings, distilled=replace(settings.distilled, network=around))
        return _distilled(settings, _artifact(name, number), asked, losses)

    def untaught(self, name: str, number: int, losses: Sequence[Weighted], *, networks: int = 1) -> Job:
        """The networks of students on hard labels with other losses."""
        job = _on_hard_labels(self.settings, _artifact(name, number))
        return replace(job, networks=cohort(job.network, networks), losses=tuple(losses))

    def unseen(self, name: str, number: int, losses: Sequence[Weighted], teacher: TeacherSpec) -> Job:
        """A network like a student on the images that `held_out` keeps from the teachers."""
        if self.settings.held_out == 0:
            raise UserError(
                "methods: the teachers see all training images: keep a part for what learns of them with --held_out 0.1"
            )
        job = _on_hard_labels(self.settings, _artifact(name, number))
        return replace(on_part(self.settings, job, rest=True), losses=tuple(losses), teacher=teacher)


def _artifact(name: str, number: int) -> str:
    # Hinton's students are called as in the paper's table. Their seeds come from the name.
    return f"networks/{'distilled' if name == 'student' else name}-{number:02d}"


def _on_hard_labels(settings: MnistSettings, name: str) -> Job:
    return digit_job(name, settings.hard, seed=network_seed(settings.seed, name))


def _distilled(settings: MnistSettings, name: str, teacher: TeacherSpec, losses: Sequence[Weighted]) -> Job:
    seed = network_seed(settings.seed, name)
    return digit_job(name, settings.distilled, seed=seed, teacher=teacher, losses=tuple(losses))


def table_plans(settings: MnistSettings) -> list[Plan]:
    """The students of the table: on hard labels, of each method, and of the ensemble, with the losses of `hinton`
    or, where that is not among the methods, those of the paper.

    Raises:
        UserError: a method cannot work with these settings.
    """
    methods = planned(settings.methods, DigitTask(settings))
    hard = Group(
        "hard", "hard labels", "reference", note="student", noun="student on hard labels",
        paper="small network, hard labels",
    )  # fmt: skip
    of_ensemble = Group("ensemble student", "distilled from the ensemble", note="student")
    number = min(settings.seeds, settings.ensemble_students)
    losses = next((one.settings.losses for one in settings.methods if one.name == "hinton"), PAPER_LOSSES)
    teachers = [teacher_name(member) for member in range(settings.members)]
    asked = teacher_spec(
        settings.distilled.teacher, store=ENSEMBLE_POSTERIORS, networks=teachers, average="arithmetic"
    )
    return [
        _plan(hard, [_on_hard_labels(settings, f"networks/hard-{one:02d}") for one in range(settings.seeds)]),
        *(plan.grouped(lambda group: replace(group, note=group.note or "student")) for plan in methods),
        _plan(
            of_ensemble,
            [_distilled(settings, f"networks/ensemble-student-{one:02d}", asked, losses) for one in range(number)],
        ),
    ]


def _plan(group: Group, jobs: Sequence[Job]) -> Plan:
    return Plan(tuple(jobs), (group,), single_systems(group.name, [job.name for job in jobs]))


def table_systems(settings: MnistSettings) -> Systems:
    """The compared systems, of which each group has one for every repetition; only the ensemble is of several networks.

    The first members of the ensemble are the teachers of the students.
    """
    teacher = Group("teacher", "teacher", "teacher", note="dropout, max-norm, jitter", paper="large network")
    ensemble = Group("ensemble", "ensemble", note="of the teachers")
    members = tuple(NetworkRef(teacher_name(number)) for number in range(settings.members))
    *students, of_ensemble = table_plans(settings)
    teachers = single_systems("teacher", [teacher_name(number) for number in range(settings.seeds)])
    shown = [
        ((teacher,), teachers),
        *((plan.groups, plan.systems) for plan in students),
        ((ensemble,), (System("ensemble", "ensemble", members),)),
        (of_ensemble.groups, of_ensemble.systems),
    ]
    return Systems(
        tuple(group for groups, _ in shown for group in groups), tuple(one for _, systems in shown for one in systems)
    )


def table(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train what is missing and count the errors on test; `table/wrong.npy` says which images
    every repetition of every system got wrong, (repetitions, images) bool. `label_log_posteriors.npy` and
    `confidences.npy`, of the same shape, float32, hold the log-posterior of the label and the largest posterior."""
    source = digits(run_dir, settings)
    systems = table_systems(settings)
    trained = train_teachers(run_dir, settings, table_teachers(settings))
    members = [one.artifact for one in systems.system("ensemble").members]
    store_posteriors(run_dir, settings, {ENSEMBLE_POSTERIORS: members})
    # Not together with teachers, which would take the cache and a third of the speed from students.
    jobs = student_jobs(settings)
    trained += train(run_dir, settings, jobs, f"{len(jobs)} students")

    def work(folder: Path) -> dict[str, Any]:
        labels = DigitArrays.load(load_artifact(run_dir, DIGITS).path).test_labels.numpy()
        networks = [system.members for system in systems.systems]
        outputs = digit_log_posteriors(run_dir, settings, networks, "test")
        wrong = np.stack([one.argmax(axis=1) != labels for one in outputs])
        np.save(folder / "wrong.npy", wrong)
        of_labels = [one[np.arange(len(labels)), labels] for one in outputs]
        np.save(folder / "label_log_posteriors.npy", np.stack(of_labels))
        np.save(folder / "confidences.npy", np.exp(np.stack([one.max(axis=1) for one in outputs])))
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


def table_teachers(settings: MnistSettings) -> list[str]:
    """Members of the ensemble, and teachers of the students."""
    return [teacher_name(number) for number in range(max(settings.members, settings.seeds))]


def student_jobs(settings: MnistSettings) -> list[Job]:
    """Students on hard labels, of each method, and of the ensemble."""
    return [job for plan in table_plans(settings) for job in plan.jobs]
