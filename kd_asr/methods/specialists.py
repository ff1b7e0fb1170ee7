"""Specialists for confusable classes (Hinton, Vinyals, Dean 2015, section 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from kd_asr.distillation.objectives import HARD, described, hinton_losses
from kd_asr.jobs.job import MODEL, Job
from kd_asr.jobs.systems import Group, NetworkRef
from kd_asr.methods.base import Plan, Task, averages_of, check_losses, live, systems_of
from kd_asr.networks.specialist import SpecialistSettings
from kd_asr.registry import Named, Weighted, method
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Unit
from kd_asr.tasks.special import SpecialData


@dataclass(frozen=True)
class SpecialistsMethodSettings:
    """A generalist on hard labels, specialists that begin with its weights, and a student of all of them.

    Attributes:
        specialists: Specialists; each has classes of its own, which the generalist takes for each other (paper: 61, of
            300 classes each, which overlap).
        share: Updates of each specialist, as a share of those of a student; four of 0.25 cost what a network costs.
        losses: Losses of the student and their weights.
    """

    specialists: Annotated[int, AtLeast(2), AtMost(1000), Unit("networks")] = 4
    share: Annotated[float, Above(0), AtMost(1)] = 0.25
    losses: tuple[Weighted, ...] = hinton_losses(temperature=2.0, soft_weight=1.0, hard_weight=0.5)


@method("specialists")
class Specialists:
    """Generalists with their specialists, and students of both."""

    Settings = SpecialistsMethodSettings

    def __init__(self, settings: SpecialistsMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """For each student a generalist, its specialists, and the student itself, which asks all of them live."""
        settings = self.settings
        check_losses(settings.losses, live(), who="the method specialists")
        generalists = [task.untaught("generalist", number, HARD) for number in range(task.students)]
        specialists = [self._specialists(task, number, one) for number, one in enumerate(generalists)]
        together = [[one, *own] for one, own in zip(generalists, specialists, strict=True)]
        students = [
            task.taught("specialists", number, settings.losses, teacher=live(*(job.name for job in jobs)))
            for number, jobs in enumerate(together)
        ]
        groups = self._groups()
        committees = [[NetworkRef(job.name) for job in jobs] for jobs in together]
        systems = (
            *systems_of(students, groups[0]),
            *averages_of(committees, groups[1]),
            *systems_of(generalists, groups[2]),
        )
        jobs = [*generalists, *(job for own in specialists for job in own), *students]
        return Plan(tuple(jobs), groups, systems)

    def _specialists(self, task: Task, number: int, generalist: Job) -> list[Job]:
        """Short trainings on hard labels, with the data of the generalist."""
        count, made = self.settings.specialists, []
        for one in range(count):
            job = task.untaught(f"specialist-{one}", number, HARD)
            made.append(
                replace(
                    job,
                    networks={MODEL: Named("network", "specialist", SpecialistSettings(job.network))},
                    data=SpecialData(generalist.data, count, one, generalist.seed),
                    epochs=self.settings.share * (job.epochs or job.budget.epochs),
                    start_from=generalist.name,
                    # On dev only the specialist's own classes can be right.
                    keep="last",
                )
            )
        return made

    def _groups(self) -> tuple[Group, ...]:
        settings = self.settings
        return (
            Group(
                "specialists",
                "of specialists",
                "student",
                noun="student of specialists",
                plural="students of specialists",
                about=f"Specialists (Hinton and others 2015, section 5): {settings.specialists} networks begin with "
                f"the weights of a generalist and have {100 * settings.share:g} % of its updates, each for classes "
                "that the generalist takes for each other; the student learns from the posterior of all of them "
                f"together: {described(settings.losses)}.",
            ),
            Group(
                "generalist-and-specialists",
                "generalist and specialists",
                "student",
                note=f"{1 + settings.specialists} networks",
                noun="generalist with its specialists",
                plural="generalists with their specialists",
            ),
            Group("generalist", "generalist", "other", note="hard labels", plural="generalists"),
        )
