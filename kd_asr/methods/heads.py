"""Hydra: a student with a shared body and a head for each member of the ensemble (Tran and others 2020, arXiv
2001.04694)."""

from __future__ import annotations

from dataclasses import dataclass

from kd_asr.distillation.objectives import described, weighted
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, plan_students_of_members
from kd_asr.networks.heads import HeadsSettings
from kd_asr.registry import Named, Weighted, method


@dataclass(frozen=True)
class HeadsMethodSettings:
    """Students with a head for each member of the ensemble, which keep how far the members disagree.

    Attributes:
        losses: Losses of a student and their weights (paper: `heads` alone).
    """

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
        members = len(task.members)
        return plan_students_of_members(
            task, "heads", losses, group, network=lambda body: Named("network", "heads", HeadsSettings(members, body))
        )
