"""A facilitator: a small network that moderates the teachers of a student."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from kd_asr.distillation.objectives import described, hinton_losses, weighted
from kd_asr.errors import UserError
from kd_asr.jobs.job import Job, TeacherSpec
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, check_losses, members_that_teach, systems_of
from kd_asr.networks.sizes import WIDTH
from kd_asr.registry import Weighted, method, named
from kd_asr.settings.ranges import Above, AtLeast, AtMost
from kd_asr.tasks.moderation import ModerationData

FACILITATOR = "facilitator"


@dataclass(frozen=True)
class FacilitatorMethodSettings:
    """Students of teachers whom a small network moderates: who of them leads, and how far they are trusted against the
    label.

    The facilitator learns on a part of the training set that the teachers have not seen (`ensemble.held_out`, on digits
    `held_out`), from the same inputs as students.

    Attributes:
        size: Parameters of a facilitator, as a share of a student's.
        share: Updates of a facilitator, as a share of a student's.
        losses: Losses of a student and their weights at the beginning.
        last_weights: Weights of `losses` at the end, one for each; the teachers' guidance is withdrawn linearly. Empty:
            they do not change.
    """

    size: Annotated[float, Above(0), AtMost(1)] = 0.1
    share: Annotated[float, Above(0), AtMost(1)] = 0.25
    losses: tuple[Weighted, ...] = hinton_losses(temperature=2.0, soft_weight=1.0, hard_weight=0.0)
    last_weights: tuple[Annotated[float, AtLeast(0)], ...] = (1.0, 0.5)

    def problems(self) -> list[str]:
        """Last weights that belong to no loss."""
        if len(self.last_weights) in (0, len(self.losses)):
            return []
        return [f"last_weights: {len(self.last_weights)} numbers for {len(self.losses)} losses"]


@method("facilitator")
class Facilitator:
    """Facilitators of the ensemble's members, and their students."""

    Settings = FacilitatorMethodSettings

    def __init__(self, settings: FacilitatorMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """For each student a facilitator, and then the student itself.

        Raises:
            UserError: the ensemble has seen all of train, or is asked live.
        """
        settings = self.settings
        members = members_that_teach(task, None, who="facilitator")
        stores = task.one_by_one(members)
        if stores.teacher.name != "members":
            raise UserError("the method facilitator reads its teachers' posteriors from stores: ask no live teachers")
        facilitators = [self._facilitator(task, number, stores, len(members)) for number in range(task.students)]
        teachers = [
            TeacherSpec(named("teacher", "facilitated"), (job.name, *stores.artifacts)) for job in facilitators
        ]
        check_losses(settings.losses, teachers[0], who="the method facilitator")
        students = [
            replace(
                task.taught("facilitated", number, settings.losses, teacher=teacher),
                last_weights=settings.last_weights,
            )
            for number, teacher in enumerate(teachers)
        ]
        weights = " and ".join(f"{weight:g}" for weight in settings.last_weights)
        end = f", weights at the end {weights}" if weights else ""
        group = Group(
            "facilitated",
            "facilitated",
            "student",
            noun="facilitated student",
            plural="facilitated students",
            about="A facilitator, a network of "
            f"{100 * settings.size:g} % of a student's parameters that learns on what the ensemble has not seen, says "
            "for each frame who of the members leads and how far they are trusted against the label; its student "
            f"learns from that: {described(settings.losses)}{end}.",
        )
        return Plan((*facilitators, *students), (group,), systems_of(students, group))

    def _facilitator(self, task: Task, number: int, stores: TeacherSpec, teachers: int) -> Job:
        job = task.unseen(FACILITATOR, number, (weighted("lead"),), stores)
        return replace(
            job,
            data=ModerationData(job.data, teachers),
            size=self.settings.size if hasattr(job.network.settings, WIDTH) else 1.0,
            epochs=self.settings.share * (job.epochs or job.budget.epochs),
            keep="last",
        )
