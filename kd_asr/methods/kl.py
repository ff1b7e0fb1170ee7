"""Students on the Kullback-Leibler divergence from the teacher (Hinton, Vinyals, Dean 2015, by another name)."""

from __future__ import annotations

from dataclasses import dataclass

from kd_asr.distillation.losses.kl import KlSettings
from kd_asr.distillation.objectives import described, weighted
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, plan_students
from kd_asr.registry import Weighted, method


@dataclass(frozen=True)
class KlMethodSettings:
    """Students on the divergence of student from teacher.

    It has the gradient of the soft cross-entropy: with equal weights and temperature these students differ from those
    of `hinton` in rounding and seed alone. What is logged is 0 where the student agrees with its teacher.

    Attributes:
        losses: Losses of a student and their weights.
    """

    losses: tuple[Weighted, ...] = (weighted("kl", KlSettings(temperature=2.0)), weighted("hard", weight=0.5))


@method("kl")
class Kl:
    """Students on KL(teacher || student) and on hard labels."""

    Settings = KlMethodSettings

    def __init__(self, settings: KlMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """One training for each student."""
        losses = self.settings.losses
        group = Group(
            "kl",
            "KL",
            "student",
            noun="network on the divergence",
            plural="students on the divergence",
            about="The divergence KL(teacher || student) has the gradient of the soft cross-entropy: "
            f"{described(losses)}.",
        )
        return plan_students(task, "kl", losses, group)
