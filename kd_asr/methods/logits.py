"""Matching logits (Ba, Caruana, NeurIPS 2014, arXiv 1312.6184; Bucila, Caruana, Niculescu-Mizil, KDD 2006)."""

from __future__ import annotations

from dataclasses import dataclass

from kd_asr.distillation.objectives import described, weighted
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, plan_students
from kd_asr.registry import Weighted, method


@dataclass(frozen=True)
class LogitsMethodSettings:
    """Students that match the teacher's logits.

    Of a posterior store's classes outside the top k only the total is known: their logits are those of the average
    tail. Live teachers (`distil.teacher live`), or more `ensemble.top_k`, give them as they are.

    Attributes:
        losses: Losses of a student and their weights (paper: the squared difference alone, without labels). The
            difference is a mean over classes, so a hard loss beside it needs a weight of about 1 / classes.
    """

    losses: tuple[Weighted, ...] = (weighted("logits"),)


@method("logits")
class Logits:
    """Students on the squared difference of centred logits."""

    Settings = LogitsMethodSettings

    def __init__(self, settings: LogitsMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """One training for each student."""
        losses = self.settings.losses
        group = Group(
            "logits",
            "logits",
            "student",
            noun="network on logits",
            plural="students on logits",
            about="Matching logits (Ba and Caruana 2014) is distillation at the limit of high temperatures: "
            f"{described(losses)}.",
        )
        return plan_students(task, "logits", losses, group)
