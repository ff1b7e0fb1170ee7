"""Pruning of whole hidden units with the teacher's targets (He and others, ICASSP 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.distillation.objectives import hinton_losses
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task
from kd_asr.methods.fine_tuned import plan_fine_tuned
from kd_asr.networks.pruned_units import PrunedUnitsSettings
from kd_asr.registry import Named, Weighted, method
from kd_asr.settings.ranges import Above, Below


@dataclass(frozen=True)
class PrunedUnitsMethodSettings:
    """Students that lose hidden units, and are smaller and faster afterwards.

    Attributes:
        kept: Share of the units of each hidden layer that stay.
        fine_tuning: Share of the student's updates in which units are lost, the first half of them, and it heals.
        losses: Losses of a student and their weights, in both stages.
        without_teacher: Whether there are students beside them whose fine-tuning is on hard labels.
    """

    kept: Annotated[float, Above(0), Below(1)] = 0.5
    fine_tuning: Annotated[float, Above(0), Below(1)] = 0.25
    losses: tuple[Weighted, ...] = hinton_losses(temperature=2.0, soft_weight=1.0, hard_weight=0.5)
    without_teacher: bool = True


@method("pruned_units")
class PrunedUnitsMethod:
    """Students that are pruned unit by unit."""

    Settings = PrunedUnitsMethodSettings

    def __init__(self, settings: PrunedUnitsMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """A student in full, and its narrower form; the last weights are kept, since earlier ones have more units."""
        settings = self.settings
        percent = f"{100 * settings.kept:g} %"
        group = Group(
            "pruned-units",
            f"units {percent}",
            "student",
            noun="network with fewer units",
            plural="students with fewer units",
            about=f"Students with fewer units (He and others 2014) keep the {percent} of each hidden layer's units "
            "whose outgoing weights are largest.",
        )
        return plan_fine_tuned(
            task,
            group,
            lambda body: Named("network", "pruned_units", PrunedUnitsSettings(kept=settings.kept, body=body)),
            losses=settings.losses,
            fine_tuning=settings.fine_tuning,
            without_teacher=settings.without_teacher,
            keep="last",
        )
