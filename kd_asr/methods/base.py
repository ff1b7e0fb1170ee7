"""The interface of methods, which plan trainings and the systems to compare but train nothing themselves.

A method is one file in this folder: a class with `@method("name")` and a frozen dataclass of its settings. The contract
tests, `tests/methods/test_every_method.py`, find it by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from kd_asr.distillation.objectives import check_needs
from kd_asr.errors import UserError
from kd_asr.jobs.job import MODEL, Job
from kd_asr.jobs.systems import Group, NetworkRef, System
from kd_asr.registry import Named, Weighted


class Task(Protocol):
    """Data, student network and budget of a run, on speech, digits or anything else, with which methods plan."""

    @property
    def students(self) -> int:
        """Number of students of each method, with different seeds."""
        ...

    @property
    def paper_row(self) -> str:
        """Row of the distilled network in the table of Hinton, Vinyals and Dean (2015)."""
        ...

    def taught(self, name: str, number: int, losses: Sequence[Weighted]) -> Job:
        """Training of a student on a teacher's posteriors and hard labels.

        Args:
            name: name of the method's students, with which their artifacts' names begin.
            number: number of the student.
            losses: losses to minimise.
        """
        ...

    def untaught(self, name: str, number: int, losses: Sequence[Weighted], *, networks: int = 1) -> Job:
        """Training of a network like a student, or of several together, on hard labels alone."""
        ...


@dataclass(frozen=True)
class Plan:
    """The trainings and systems of a method.

    Attributes:
        jobs: Trainings.
        group: Group of the systems in reports.
        systems: Systems to compare, all in the group.
    """

    jobs: tuple[Job, ...]
    group: Group
    systems: tuple[System, ...]


class Method(Protocol):
    """A published method, made from its settings."""

    Settings: ClassVar[type[Any]]

    def plan(self, task: Task) -> Plan:
        """Trainings and systems of the method for a task.

        Raises:
            UserError: a loss needs more than its teacher gives.
        """
        ...


def planned(methods: Sequence[Named], task: Task) -> list[Plan]:
    """Plans of some methods for a task.

    Raises:
        UserError: two of the methods make groups of the same name, or a loss needs more than its teacher gives.
    """
    plans: list[Plan] = [named.make().plan(task) for named in methods]
    groups = [plan.group.name for plan in plans]
    for named, group in zip(methods, groups, strict=True):
        if groups.count(group) > 1:
            raise UserError(f"methods: {named.name} is named twice with systems called {group!r}: name it once")
    return plans


def cohort(network: Named, networks: int) -> dict[str, Named]:
    """Networks of a job by name: one, or several equal ones to be trained together."""
    if networks == 1:
        return {MODEL: network}
    return {f"network-{number}": network for number in range(networks)}


def plan_students(task: Task, name: str, losses: Sequence[Weighted], group: Group) -> Plan:
    """Plan students of the task's teacher that differ from those of other methods only in their losses.

    Args:
        task: task to plan for.
        name: name of the students.
        losses: losses to minimise.
        group: group of the systems, which have one student each.

    Raises:
        UserError: a loss needs more than posteriors and labels.
    """
    check_needs(losses, frozenset({"posteriors", "labels"}), who=f"the method {group.name}")
    jobs = tuple(task.taught(name, number, losses) for number in range(task.students))
    return Plan(jobs, group, tuple(_system(job, group) for job in jobs))


def plan_cohorts(task: Task, name: str, losses: Sequence[Weighted], group: Group, *, networks: int) -> Plan:
    """Plan cohorts of networks that are trained together without a teacher; the first network of each is a system.

    The networks of a cohort are not independent; with one of each, the systems are as independent as the students of
    other methods.

    Args:
        task: task to plan for.
        name: name of the cohorts.
        losses: losses of each network.
        group: group of the systems.
        networks: number of networks in a cohort.

    Raises:
        UserError: a loss needs more than labels and the other networks.
    """
    gives = {"labels", "members"} if networks > 1 else {"labels"}
    check_needs(losses, frozenset(gives), who=f"the method {group.name}")
    jobs = tuple(task.untaught(name, number, losses, networks=networks) for number in range(task.students))
    return Plan(jobs, group, tuple(_system(job, group) for job in jobs))


def _system(job: Job, group: Group) -> System:
    """The system of a job's first network."""
    network = NetworkRef(job.name, next(iter(job.networks)))
    return System(network.name, group.name, (network,))
