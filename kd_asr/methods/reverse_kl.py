"""Students on the reverse Kullback-Leibler divergence (for text: Gu, Dong, Wei, Huang, ICLR 2024, arXiv 2306.08543)."""

from __future__ import annotations

from dataclasses import dataclass

from kd_asr.distillation.losses.reverse_kl import ReverseKlSettings
from kd_asr.distillation.objectives import described, weighted
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, plan_students
from kd_asr.registry import Weighted, method


@dataclass(frozen=True)
class ReverseKlMethodSettings:
    """Students on the divergence of teacher from student, which prefers one of the teacher's answers to their mean.

    A posterior store shares the mass outside its top k among all other classes, so that none is excluded.

    Attributes:
        losses: Losses of a student and their weights.
    """

    losses: tuple[Weighted, ...] = (
        weighted("reverse_kl", ReverseKlSettings(temperature=2.0)),
        weighted("hard", weight=0.5),
    )


@method("reverse_kl")
class ReverseKl:
    """Students on KL(student || teacher) and on hard labels."""

    Settings = ReverseKlMethodSettings

    def __init__(self, settings: ReverseKlMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """One training for each student."""
        losses = self.settings.losses
        group = Group(
            "reverse-kl",
            "reverse KL",
            "student",
            noun="network on the reverse divergence",
            plural="students on the reverse divergence",
            about="The reverse divergence, KL(student || teacher), punishes what the teacher excludes: "
            f"{described(losses)}.",
        )
        return plan_students(task, "reverse-kl", losses, group)
