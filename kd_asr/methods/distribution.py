"""Ensemble distribution distillation (Malinin, Mlodozeniec, Gales, ICLR 2020; for many classes Ryabinin, Malinin, Gales
2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.distillation.objectives import described, weighted
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, plan_students_of_members
from kd_asr.registry import Weighted, method
from kd_asr.settings.ranges import AtLeast, AtMost


@dataclass(frozen=True)
class DistributionMethodSettings:
    """Students that predict a Dirichlet distribution over posteriors: the ensemble's mean, and how far its members
    disagree.

    Attributes:
        members: Members of the ensemble that teach, the first ones; each is asked in each update, so fewer are faster;
            null: all.
        losses: Losses of a student and their weights (Ryabinin and others 2021: `dirichlet` alone; Malinin and others
            2020: `dirichlet_likelihood` alone).
    """

    members: Annotated[int | None, AtLeast(2), AtMost(1000)] = None
    losses: tuple[Weighted, ...] = (weighted("dirichlet"),)


@method("distribution")
class Distribution:
    """Students on the distribution of the members' posteriors."""

    Settings = DistributionMethodSettings

    def __init__(self, settings: DistributionMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """One training for each student, with the members as teachers."""
        losses = self.settings.losses
        group = Group(
            "distribution",
            "distribution",
            "student",
            noun="distribution student",
            plural="distribution students",
            about="Ensemble distribution distillation (Malinin and others 2020; Ryabinin and others 2021) teaches a "
            "student the members' posteriors one by one, as a Dirichlet distribution that keeps how far they disagree: "
            f"{described(losses)}.",
        )
        return plan_students_of_members(task, "distribution", losses, group, members=self.settings.members)
