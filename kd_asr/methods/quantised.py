"""Training for 8 bits with the teacher's targets (Jacob and others, CVPR 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.distillation.objectives import hinton_losses
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task
from kd_asr.methods.fine_tuned import plan_fine_tuned
from kd_asr.networks.quantised import QuantisedSettings
from kd_asr.registry import Named, Weighted, method
from kd_asr.settings.ranges import Above, Below


@dataclass(frozen=True)
class QuantisedMethodSettings:
    """Students that are trained with the rounding of 8 bits.

    Attributes:
        fine_tuning: Share of the student's updates in which it rounds.
        losses: Losses of a student and their weights, in both stages.
        without_teacher: Whether there are students beside them whose fine-tuning is on hard labels.
    """

    fine_tuning: Annotated[float, Above(0), Below(1)] = 0.25
    losses: tuple[Weighted, ...] = hinton_losses(temperature=2.0, soft_weight=1.0, hard_weight=0.5)
    without_teacher: bool = True


@method("quantised")
class QuantisedMethod:
    """Students in 8 bits."""

    Settings = QuantisedMethodSettings

    def __init__(self, settings: QuantisedMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """A student in full, and its form in 8 bits."""
        settings = self.settings
        group = Group(
            "quantised",
            "8 bits",
            "student",
            noun="network in 8 bits",
            plural="students in 8 bits",
            about="Students in 8 bits (Jacob and others 2018) round weights and activations while they are trained, "
            "and are measured in 8 bits.",
        )
        return plan_fine_tuned(
            task,
            group,
            lambda body: Named("network", "quantised", QuantisedSettings(body)),
            losses=settings.losses,
            fine_tuning=settings.fine_tuning,
            without_teacher=settings.without_teacher,
            keep="best",
        )
