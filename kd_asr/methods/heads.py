"""Hydra: a student with a shared body and a head for each member of the ensemble (Tran and others 2020, arXiv
2001.04694)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.distillation.objectives import described, weighted
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, members_that_teach, plan_students_of_members
from kd_asr.networks.heads import HeadsSettings
from kd_asr.registry import Named, Weighted, method
from kd_asr.settings.ranges import AtLeast, AtMost


@dataclass(frozen=True)
class HeadsMethodSettings:
    """Students with a head for each member of the ensemble, which keep how far the members disagree.

    Attributes:
        members: Members of the ensemble that teach, the first ones; each is asked in each update, so fewer are faster;
            null: all.
        losses: Losses of a student and their weights (paper: `heads` alone).
    """

    members: Annotated[int | None, AtLeast(2), AtMost(1000)] = None
    losses: tuple[Weighted, ...] = (weighted("heads"),)


@method("heads")
class HeadsMethod:
    """Students whose heads learn from one member of the ensemble each."""

    Settings = HeadsMethodSettings

    def __init__(self, settings: HeadsMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """One training for each student, with the members as teachers."""
        losses = self.settings.losses
        group = Group(
            "heads",
            "several heads",
            "student",
            noun="student with several heads",
            plural="students with several heads",
            about="Students with several heads (Hydra: Tran and others 2020) have an output layer for each member of "
            f"the ensemble, and predict the mean of their posteriors: {described(losses)}.",
        )
        members = len(members_that_teach(task, self.settings.members, who="heads"))
        return plan_students_of_members(
            task,
            "heads",
            losses,
            group,
            members=members,
            network=lambda body: Named("network", "heads", HeadsSettings(members, body)),
        )
