"""Hints of a middle layer (Romero, Ballas, Kahou, Chassang, Gatta, Bengio, ICLR 2015, arXiv 1412.6550)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from kd_asr.distillation.objectives import described, hinton_losses, weighted
from kd_asr.jobs.job import Job
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, check_losses, live, one_teacher, systems_of
from kd_asr.registry import Weighted, method
from kd_asr.settings.ranges import Above, AtLeast, Below


@dataclass(frozen=True)
class HintsMethodSettings:
    """Students in two stages: the lower half on a middle layer of one teacher, then the whole on all of them.

    Hidden units of different networks correspond to nothing in each other: the hint is of one member of an ensemble,
    student 0 has that of member 0, and so on. It is computed on the inputs that the student sees.

    Attributes:
        hints: Losses of the first stage and their weights, with the names of the layers.
        hint_share: Share of the student's updates that the first stage takes, so that students of all methods have
            equal budgets.
        losses: Losses of the second stage and their weights at its beginning (paper: temperature 3; the soft loss has
            weight 4, the hard one 1).
        last_weights: Weights of `losses` at the end of the second stage, one for each; they change linearly (paper:
            that of the soft loss falls from 4 to 1). Empty: they do not change.
    """

    hints: tuple[Weighted, ...] = (weighted("hint"),)
    hint_share: Annotated[float, Above(0), Below(1)] = 0.25
    losses: tuple[Weighted, ...] = hinton_losses(temperature=3.0, soft_weight=4.0, hard_weight=1.0)
    last_weights: tuple[Annotated[float, AtLeast(0)], ...] = (1.0, 1.0)

    def problems(self) -> list[str]:
        """Last weights that belong to no loss."""
        if len(self.last_weights) in (0, len(self.losses)):
            return []
        return [f"last_weights: {len(self.last_weights)} numbers for {len(self.losses)} losses"]


@method("hints")
class Hints:
    """Students that begin with a lower half trained on hints."""

    Settings = HintsMethodSettings

    def __init__(self, settings: HintsMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """Two trainings for each student, of which the second begins with the weights of the first."""
        settings = self.settings
        check_losses(settings.hints, live(), who="the method hints")
        check_losses(settings.losses, None, who="the method hints")
        first = [self._hinted(task, number) for number in range(task.students)]
        second = [self._distilled(task, number, before) for number, before in enumerate(first)]
        weights = " and ".join(f"{weight:g}" for weight in settings.last_weights)
        end = f", weights at the end {weights}" if weights else ""
        group = Group(
            "hints",
            "hints",
            "student",
            noun="network with hints",
            plural="students with hints",
            about="With hints (Romero and others 2015) the lower half of a student first learns a middle layer of one "
            f"teacher, in {100 * settings.hint_share:g} % of its updates: {described(settings.hints)}; then the whole "
            f"student is distilled: {described(settings.losses)}{end}.",
        )
        return Plan((*first, *second), (group,), systems_of(second, group))

    def _hinted(self, task: Task, number: int) -> Job:
        """The first stage; the outputs learn nothing in it, so there is no best epoch to keep."""
        job = task.taught("hinted", number, self.settings.hints, teacher=live(one_teacher(task, number)))
        return replace(job, epochs=_epochs(job) * self.settings.hint_share, keep="last")

    def _distilled(self, task: Task, number: int, before: Job) -> Job:
        job = task.taught("hints", number, self.settings.losses)
        return replace(
            job,
            epochs=_epochs(job) * (1 - self.settings.hint_share),
            start_from=before.name,
            last_weights=self.settings.last_weights,
        )


def _epochs(job: Job) -> float:
    return job.epochs or job.budget.epochs
