"""Distilling the knowledge in a neural network (Hinton, Vinyals, Dean 2015, arXiv 1503.02531)."""

from __future__ import annotations

from dataclasses import dataclass

from kd_asr.distillation.objectives import described, hinton_losses
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, plan_students
from kd_asr.registry import Weighted, method


@dataclass(frozen=True)
class HintonMethodSettings:
    """Students on a teacher's softened posteriors and on hard labels.

    Attributes:
        losses: Losses of a student and their weights; a soft and a hard loss are computed together (paper: for speech
            temperature 2 and weights 1 and 0.5, for digits temperature 20).
    """

    losses: tuple[Weighted, ...] = hinton_losses(temperature=2.0, soft_weight=1.0, hard_weight=0.5)


@method("hinton")
class Hinton:
    """Students on a teacher's posteriors and the hard labels."""

    Settings = HintonMethodSettings

    def __init__(self, settings: HintonMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """One training for each student."""
        losses = self.settings.losses
        group = Group(
            "distilled",
            "distilled",
            "student",
            "#009E73",
            noun="distilled network",
            plural="students",
            about=f"Distilled networks learn from posteriors and labels: {described(losses)}.",
            paper=task.paper_row,
        )
        return plan_students(task, "student", losses, group)
