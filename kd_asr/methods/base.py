"""What every method is: it plans trainings and the systems to compare, and trains nothing itself.

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
    """What methods plan with: the data, student network and budget of a run, on speech, digits or anything else."""

    @property
    def students(self) -> int:
        """Students of each method, with seeds of their own."""
        ...

    @property
    def paper_row(self) -> str:
        """Row of the table of Hinton, Vinyals and Dean (2015) for their distilled network."""
        ...

    def taught(self, name: str, number: int, losses: Sequence[Weighted]) -> Job:
        """Training of a student on a teacher's posteriors and hard labels.

        Args:
            name: of the method's students, the beginning of their artifacts' names.
            number: of the student.
            losses: to minimise.
        """
        ...

    def untaught(self, name: str, number: int, losses: Sequence[Weighted], *, networks: int = 1) -> Job:
        """Training of the same network, or of several together, on hard labels alone."""
        ...


@dataclass(frozen=True)
class Plan:
    """The trainings and systems of a method.

    Attributes:
        jobs: Trainings.
        group: How reports show the systems.
        systems: Systems to compare, all of the group.
    """

    jobs: tuple[Job, ...]
    group: Group
    systems: tuple[System, ...]


class Method(Protocol):
    """Plans what a published method needs; made from its settings."""

    Settings: ClassVar[type[Any]]

    def plan(self, task: Task) -> Plan:
        """Trainings and systems of the method for a task.

        Raises:
            UserError: a loss needs what its teacher does not give.
        """
        ...


def planned(methods: Sequence[Named], task: Task) -> list[Plan]:
    """The plans of some methods for a task.

    Raises:
        UserError: two of the methods make groups of one name, or a loss needs what its teacher does not give.
    """
    plans: list[Plan] = [named.make().plan(task) for named in methods]
    groups = [plan.group.name for plan in plans]
    for named, group in zip(methods, groups, strict=True):
        if groups.count(group) > 1:
            raise UserError(f"methods: {named.name} is named twice with systems called {group!r}: name it once")
    return plans


def cohort(network: Named, networks: int) -> dict[str, Named]:
    """One network as a job has it, or several alike that are trained together, by name."""
    if networks == 1:
        return {MODEL: network}
    return {f"network-{number}": network for number in range(networks)}


def plan_students(task: Task, name: str, losses: Sequence[Weighted], group: Group) -> Plan:
    """Students of the task's teacher that differ from those of other methods in their losses alone.

    Args:
        task: to plan for.
        name: of the students.
        losses: to minimise.
        group: of the systems, of one student each.

    Raises:
        UserError: a loss needs what posteriors and labels do not give.
    """
    check_needs(losses, frozenset({"posteriors", "labels"}), who=f"the method {group.name}")
    jobs = tuple(task.taught(name, number, losses) for number in range(task.students))
    return Plan(jobs, group, tuple(_system(job, group) for job in jobs))


def plan_cohorts(task: Task, name: str, losses: Sequence[Weighted], group: Group, *, networks: int) -> Plan:
    """Cohorts of networks that are trained together without a teacher; the first network of each is a system.

    The networks of a cohort are alike but not independent: one of each keeps the systems as independent as the students
    of other methods.

    Args:
        task: to plan for.
        name: of the cohorts.
        losses: of each network.
        group: of the systems.
        networks: number in a cohort.

    Raises:
        UserError: a loss needs what labels and the other networks do not give.
    """
    gives = {"labels", "members"} if networks > 1 else {"labels"}
    check_needs(losses, frozenset(gives), who=f"the method {group.name}")
    jobs = tuple(task.untaught(name, number, losses, networks=networks) for number in range(task.students))
    return Plan(jobs, group, tuple(_system(job, group) for job in jobs))


def _system(job: Job, group: Group) -> System:
    """The system of a job's first network."""
    network = NetworkRef(job.name, next(iter(job.networks)))
    return System(network.name, group.name, (network,))
