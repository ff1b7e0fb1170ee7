"""Decoupled knowledge distillation (Zhao, Cui, Song, Qiu, Liang, CVPR 2022, arXiv 2203.08679)."""

from __future__ import annotations

from dataclasses import dataclass

from kd_asr.distillation.objectives import HARD, described, weighted
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, plan_students
from kd_asr.registry import Weighted, method


@dataclass(frozen=True)
class DecoupledMethodSettings:
    """Students on the decoupled loss, which weights the label's posterior and the distribution of the other classes.

    Attributes:
        losses: Losses of a student and their weights (paper: the decoupled and the hard loss, both with weight 1).
    """

    losses: tuple[Weighted, ...] = (weighted("decoupled"), *HARD)


@method("decoupled")
class Decoupled:
    """Students on the decoupled loss."""

    Settings = DecoupledMethodSettings

    def __init__(self, settings: DecoupledMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """One training for each student."""
        losses = self.settings.losses
        group = Group(
            "decoupled",
            "decoupled",
            "student",
            noun="decoupled network",
            plural="decoupled students",
            about="Decoupled distillation (Zhao and others 2022) weighs the teacher's posterior of the label against "
            f"those of all other classes: {described(losses)}.",
        )
        return plan_students(task, "decoupled", losses, group)
