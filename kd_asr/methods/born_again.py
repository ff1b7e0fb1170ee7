"""Born-again networks (Furlanello, Lipton, Tschannen, Itti, Anandkumar, ICML 2018, arXiv 1805.04770)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.distillation.losses.soft import SoftSettings
from kd_asr.distillation.objectives import HARD, described, weighted
from kd_asr.jobs.systems import Group, NetworkRef
from kd_asr.methods.base import Plan, Task, averages_of, check_losses, live, systems_of
from kd_asr.registry import Weighted, method
from kd_asr.settings.ranges import AtLeast, AtMost, Unit


@dataclass(frozen=True)
class BornAgainMethodSettings:
    """Networks of one architecture in generations, each of which learns from the one before.

    Attributes:
        generations: Generations after the first network, which learns from labels alone (paper: 1 to 3).
        losses: Losses of each generation and their weights (paper: the soft loss alone, at temperature 1; with the hard
            loss beside it, its networks were slightly worse).
    """

    generations: Annotated[int, AtLeast(1), AtMost(100), Unit("generations")] = 3
    losses: tuple[Weighted, ...] = (weighted("soft", SoftSettings(temperature=1.0)),)


@method("born_again")
class BornAgain:
    """Generations of equal networks, and their ensemble."""

    Settings = BornAgainMethodSettings

    def __init__(self, settings: BornAgainMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """For each student a line of descent: a network on hard labels, and the generations after it.

        The previous generation is asked live: in evaluation mode, on the inputs as they are varied for its successor,
        which begins with weights of its own.
        """
        losses, count = self.settings.losses, self.settings.generations
        check_losses(losses, live(), who="the method born_again")
        lines = [[task.untaught("born-again-0", number, HARD)] for number in range(task.students)]
        for generation in range(1, count + 1):
            for number, line in enumerate(lines):
                parent = live(line[-1].name)
                line.append(task.taught(f"born-again-{generation}", number, losses, teacher=parent))
        groups = [self._generation(one) for one in range(1, count + 1)]
        systems = [
            system
            for generation, group in enumerate(groups, start=1)
            for system in systems_of([line[generation] for line in lines], group)
        ]
        if count > 1:
            groups.append(_ensemble(count))
            systems += averages_of([[NetworkRef(job.name) for job in line[1:]] for line in lines], groups[-1])
        # Generation after generation, so that the networks of each are trained side by side.
        jobs = [job for generation in zip(*lines, strict=True) for job in generation]
        return Plan(tuple(jobs), tuple(groups), tuple(systems))

    def _generation(self, number: int) -> Group:
        about = (
            "Born-again networks (Furlanello and others 2018) have the architecture of their teacher, which is the "
            "generation before; the first learns from a network on hard labels: "
            f"{described(self.settings.losses)}."
        )
        return Group(
            f"born-again-{number}",
            f"born-again {number}",
            "student",
            noun=f"born-again network of generation {number}",
            plural=f"born-again networks of generation {number}",
            about=about if number == 1 else "",
        )


def _ensemble(generations: int) -> Group:
    return Group(
        "born-again-ensemble",
        "born-again ensemble",
        "student",
        note=f"{generations} networks",
        noun="ensemble of the generations",
        plural="ensembles of the generations",
    )
