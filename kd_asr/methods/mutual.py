"""Deep mutual learning (Zhang, Xiang, Hospedales, Lu, CVPR 2018, arXiv 1706.00384)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.distillation.objectives import HARD, described, weighted
from kd_asr.jobs.systems import Group, NetworkRef
from kd_asr.methods.base import Plan, Task, averages_of, plan_cohorts
from kd_asr.registry import Weighted, method
from kd_asr.settings.ranges import AtLeast, AtMost, Unit


@dataclass(frozen=True)
class MutualMethodSettings:
    """Networks without a teacher, trained together, each on the labels and on the posteriors of the others.

    Attributes:
        networks: Networks of a cohort, which differ in their initial weights (paper: 2 to 7). The first of them is
            compared with the other systems.
        losses: Losses of each network and their weights (paper: both 1).
    """

    networks: Annotated[int, AtLeast(2), AtMost(100), Unit("networks")] = 2
    losses: tuple[Weighted, ...] = (weighted("peers"), *HARD)


@method("mutual")
class Mutual:
    """Cohorts of networks that teach each other."""

    Settings = MutualMethodSettings

    def __init__(self, settings: MutualMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """One training for each cohort, whose first network is a system, and all of them together another."""
        number, losses = self.settings.networks, self.settings.losses
        name = f"mutual-{number}"
        group = Group(
            name,
            f"mutual, {number} networks",
            "student",
            noun=f"mutual-{number} network",
            plural=f"mutual-{number} networks",
            about=f"Mutual learning (Zhang and others 2018) trains {number} networks together without a teacher, each "
            f"on the labels and on the posteriors of the others: {described(losses)}. The first network of each "
            "cohort is compared.",
        )
        plan = plan_cohorts(task, name, losses, group, networks=number)
        ensemble = Group(
            f"{name}-ensemble",
            f"ensemble of {number} mutual",
            "student",
            note=f"{number} networks",
            noun=f"ensemble of a mutual-{number} cohort",
            plural=f"ensembles of mutual-{number} cohorts",
        )
        cohorts = [[NetworkRef(job.name, network) for network in job.networks] for job in plan.jobs]
        return Plan(plan.jobs, (*plan.groups, ensemble), (*plan.systems, *averages_of(cohorts, ensemble)))
