"""The interface of methods, which plan trainings and the systems to compare but train nothing themselves.

A method is one file in this folder: a class with `@method("name")` and a frozen dataclass of its settings. The contract
tests, `tests/methods/test_every_method.py`, find it by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from kd_asr.distillation.objectives import check_needs
from kd_asr.errors import UserError
from kd_asr.jobs.job import MODEL, Job, TeacherSpec
from kd_asr.jobs.systems import Group, NetworkRef, System
from kd_asr.registry import Named, Weighted, find, named

# Puts a network around another one.
NetworkAround = Callable[[Named], Named]


class Task(Protocol):
    """Data, student network and budget of a run, on speech, digits or anything else, with which methods plan."""

    @property
    def students(self) -> int:
        """Number of students of each method, with different seeds."""
        ...

    @property
    def gives(self) -> frozenset[str]:
        """What losses may need of the data, beside labels."""
        ...

    @property
    def paper_row(self) -> str:
        """Row of the distilled network in the table of Hinton, Vinyals and Dean (2015)."""
        ...

    def teachers(self, number: int) -> Sequence[str]:
        """Artifacts of the networks that teach a student, one or more, to be asked one by one and on its own inputs.

        Raises:
            UserError: they see utterances in another way than students.
        """
        ...

    @property
    def members(self) -> Sequence[str]:
        """Artifacts of the networks of the ensemble."""
        ...

    def one_by_one(self, members: Sequence[str]) -> TeacherSpec:
        """Some networks of the ensemble as a teacher that gives the posteriors of each: by posterior stores of their
        own, or live where the settings of the run ask for live teachers.

        Raises:
            UserError: live ones see utterances in another way than students.
        """
        ...

    def taught(
        self,
        name: str,
        number: int,
        losses: Sequence[Weighted],
        *,
        teacher: TeacherSpec | None = None,
        network: NetworkAround | None = None,
    ) -> Job:
        """Training of a student on a teacher's signal and hard labels.

        Args:
            name: name of the method's students, with which their artifacts' names begin.
            number: number of the student.
            losses: losses to minimise.
            teacher: teacher; None: the one that the settings of the run name, of all networks in `teachers`.
            network: makes the student's network from that of the other methods' students; None: the same.
        """
        ...

    def untaught(self, name: str, number: int, losses: Sequence[Weighted], *, networks: int = 1) -> Job:
        """Training of a network like a student, or of several together, on hard labels alone."""
        ...

    def unseen(self, name: str, number: int, losses: Sequence[Weighted], teacher: TeacherSpec) -> Job:
        """Training of a network like a student on the part of the training set that the ensemble has not seen, with a
        teacher's signal.

        Raises:
            UserError: the ensemble has seen all of it.
        """
        ...


@dataclass(frozen=True)
class Plan:
    """The trainings and systems of a method.

    Attributes:
        jobs: Trainings, those that others need as well.
        groups: Groups of the systems in reports; the first has the method's students.
        systems: Systems to compare, each in one of the groups.
    """

    jobs: tuple[Job, ...]
    groups: tuple[Group, ...]
    systems: tuple[System, ...]

    @property
    def students(self) -> tuple[Job, ...]:
        """Trainings of the systems of the first group."""
        first = [system for system in self.systems if system.group == self.groups[0].name]
        wanted = {member.artifact for system in first for member in system.members}
        return tuple(job for job in self.jobs if job.name in wanted)

    def grouped(self, change: Callable[[Group], Group]) -> Plan:
        """The same trainings and systems in changed groups, which may have other names."""
        changed = {group.name: change(group) for group in self.groups}
        systems = tuple(replace(system, group=changed[system.group].name) for system in self.systems)
        return Plan(self.jobs, tuple(changed.values()), systems)


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
    plans: list[Plan] = [method.make().plan(task) for method in methods]
    groups = [group.name for plan in plans for group in plan.groups]
    for method, plan in zip(methods, plans, strict=True):
        twice = next((group.name for group in plan.groups if groups.count(group.name) > 1), None)
        if twice is not None:
            raise UserError(f"methods: {method.name} is named twice with systems called {twice!r}: name it once")
    return plans


def live(*networks: str) -> TeacherSpec:
    """Networks of other trainings as a teacher, by their artifacts: asked in each update, on the student's inputs."""
    return TeacherSpec(named("teacher", "live"), networks)


def cohort(network: Named, networks: int) -> dict[str, Named]:
    """Networks of a job by name: one, or several equal ones to be trained together."""
    if networks == 1:
        return {MODEL: network}
    return {f"network-{number}": network for number in range(networks)}


def one_teacher(task: Task, number: int) -> str:
    """Artifact of one network among those that teach a student, in turn, so that every one of them is asked by some."""
    networks = task.teachers(number)
    return networks[number % len(networks)]


def check_losses(
    losses: Sequence[Weighted], teacher: TeacherSpec | None, *, who: str, data: frozenset[str] = frozenset()
) -> None:
    """Refuse losses that need more than a teacher gives and labels; None: the run's, of which posteriors are certain.
    `data` is what the task's data gives beside labels.

    Raises:
        UserError: names the loss, and begins with `who`.
    """
    gives = {"posteriors"} if teacher is None else find("teacher", teacher.teacher.name).gives
    check_needs(losses, frozenset({"labels", *gives, *data}), who=who)


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
    check_losses(losses, None, who=f"the method {group.name}", data=task.gives)
    jobs = tuple(task.taught(name, number, losses) for number in range(task.students))
    return Plan(jobs, (group,), systems_of(jobs, group))


def members_that_teach(task: Task, members: int | None, *, who: str) -> Sequence[str]:
    """Artifacts of the first `members` of a task's ensemble, or of all.

    Raises:
        UserError: there are not so many, or a single one; names the method `who`.
    """
    known = task.members
    if members is not None and members > len(known):
        raise UserError(f"the method {who}: {members} members are to teach, but the ensemble has {len(known)}")
    if len(known) < 2:
        raise UserError(f"the method {who}: an ensemble of one member has no disagreement to keep: give it two or more")
    return known[:members]


def plan_students_of_members(
    task: Task,
    name: str,
    losses: Sequence[Weighted],
    group: Group,
    *,
    members: int | None = None,
    network: NetworkAround | None = None,
) -> Plan:
    """Plan students of the ensemble's members one by one.

    Args:
        task: task to plan for.
        name: name of the students.
        losses: losses to minimise.
        group: group of the systems, which have one student each.
        members: number of members that teach, the first ones; None: all.
        network: as in `Task.taught`; the losses may need several heads of it.

    Raises:
        UserError: a loss needs more than that, or the ensemble has a single member, or fewer than asked for.
    """
    teacher, who = task.one_by_one(members_that_teach(task, members, who=group.name)), f"the method {group.name}"
    gives = {"labels", *find("teacher", teacher.teacher.name).gives, *({"heads"} if network is not None else ())}
    check_needs(losses, frozenset(gives), who=who)
    jobs = tuple(
        task.taught(name, number, losses, teacher=teacher, network=network) for number in range(task.students)
    )
    return Plan(jobs, (group,), systems_of(jobs, group))


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
    return Plan(jobs, (group,), systems_of(jobs, group))


def systems_of(jobs: Sequence[Job], group: Group) -> tuple[System, ...]:
    """The first network of each job as a system of a group."""
    networks = [NetworkRef(job.name, next(iter(job.networks))) for job in jobs]
    return tuple(System(network.name, group.name, (network,)) for network in networks)


def averages_of(networks: Sequence[Sequence[NetworkRef]], group: Group) -> tuple[System, ...]:
    """Several networks each, whose posteriors are averaged, as the systems of a group."""
    return tuple(
        System(f"{group.name}-{number:02d}", group.name, tuple(members)) for number, members in enumerate(networks)
    )
