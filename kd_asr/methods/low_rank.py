"""Layers as products of two narrower ones, fine-tuned with the teacher's targets (Xue, Li, Gong, Interspeech 2013)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.distillation.objectives import hinton_losses
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task
from kd_asr.methods.fine_tuned import plan_fine_tuned
from kd_asr.networks.low_rank import LowRankSettings
from kd_asr.registry import Named, Weighted, method
from kd_asr.settings.ranges import Above, Below


@dataclass(frozen=True)
class LowRankMethodSettings:
    """Students whose layers become products of two narrower ones.

    Attributes:
        share: Share of a layer's weights that its two factors have together.
        fine_tuning: Share of the student's updates after it has been factored.
        losses: Losses of a student and their weights, in both stages.
        without_teacher: Whether there are students beside them whose fine-tuning is on hard labels.
    """

    share: Annotated[float, Above(0), Below(1)] = 0.5
    fine_tuning: Annotated[float, Above(0), Below(1)] = 0.25
    losses: tuple[Weighted, ...] = hinton_losses(temperature=2.0, soft_weight=1.0, hard_weight=0.5)
    without_teacher: bool = True


@method("low_rank")
class LowRankMethod:
    """Students of low rank."""

    Settings = LowRankMethodSettings

    def __init__(self, settings: LowRankMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """A student in full, and its form of low rank, which begins with the singular value decomposition of each
        layer."""
        settings = self.settings
        percent = f"{100 * settings.share:g} %"
        group = Group(
            "low-rank",
            f"low rank {percent}",
            "student",
            noun="network of low rank",
            plural="students of low rank",
            about="Students of low rank (Xue and others 2013) have two factors for each layer, with "
            f"{percent} of its weights together, which begin as its truncated singular value decomposition.",
        )
        return plan_fine_tuned(
            task,
            group,
            lambda body: Named("network", "low_rank", LowRankSettings(settings.share, body)),
            losses=settings.losses,
            fine_tuning=settings.fine_tuning,
            without_teacher=settings.without_teacher,
            keep="best",
        )
