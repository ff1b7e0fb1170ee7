"""Pruning of single weights with the teacher's targets (gradually: Zhu and Gupta 2017, arXiv 1710.01878)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.distillation.objectives import hinton_losses
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task
from kd_asr.methods.fine_tuned import plan_fine_tuned
from kd_asr.networks.pruned import PrunedSettings
from kd_asr.registry import Named, Weighted, method
from kd_asr.settings.ranges import Above, Below


@dataclass(frozen=True)
class PrunedMethodSettings:
    """Students most of whose weights become 0.

    Attributes:
        sparsity: Share of the weights of each layer that are 0 in the end.
        fine_tuning: Share of the student's updates in which it is pruned, the first half of them, and heals.
        losses: Losses of a student and their weights, in both stages.
        without_teacher: Whether there are students beside them whose fine-tuning is on hard labels.
    """

    sparsity: Annotated[float, Above(0), Below(1)] = 0.7
    fine_tuning: Annotated[float, Above(0), Below(1)] = 0.25
    losses: tuple[Weighted, ...] = hinton_losses(temperature=2.0, soft_weight=1.0, hard_weight=0.5)
    without_teacher: bool = True


@method("pruned")
class PrunedMethod:
    """Students that are pruned weight by weight."""

    Settings = PrunedMethodSettings

    def __init__(self, settings: PrunedMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """A student in full, and its pruned form; the last weights are kept, since earlier ones are less pruned."""
        settings = self.settings
        percent = f"{100 * settings.sparsity:g} %"
        group = Group(
            "pruned",
            f"pruned {percent}",
            "student",
            noun="pruned network",
            plural="pruned students",
            about=f"Pruned students (gradual magnitude pruning: Zhu, Gupta 2017) end with {percent} of the weights of "
            "each layer at 0; files and multiply-adds count these zeros unless they are packed.",
        )
        return plan_fine_tuned(
            task,
            group,
            lambda body: Named("network", "pruned", PrunedSettings(sparsity=settings.sparsity, body=body)),
            losses=settings.losses,
            fine_tuning=settings.fine_tuning,
            without_teacher=settings.without_teacher,
            keep="last",
        )
