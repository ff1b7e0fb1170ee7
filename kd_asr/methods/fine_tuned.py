"""What methods share that make a student smaller: a first stage as usual, then fine-tuning of the small form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from kd_asr.distillation.objectives import HARD, described
from kd_asr.errors import UserError
from kd_asr.jobs.job import Job
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import NetworkAround, Plan, Task, check_losses, systems_of
from kd_asr.networks.base import network_class
from kd_asr.registry import Weighted


def plan_fine_tuned(
    task: Task,
    group: Group,
    around: NetworkAround,
    *,
    losses: Sequence[Weighted],
    fine_tuning: float,
    without_teacher: bool,
    keep: Literal["best", "last"],
) -> Plan:
    """Plan students in two stages: distilled in full size, then made smaller, with and without the teacher.

    Args:
        task: task to plan for.
        group: group of the students; its name is that of the method, with hyphens.
        around: puts the small form around a student's network.
        losses: losses of both stages.
        fine_tuning: share of the updates for the second stage.
        without_teacher: whether there is a second group, whose second stage is on hard labels.
        keep: weights of the second stage to keep.

    Raises:
        UserError: a loss needs more than posteriors and labels, or the students' network cannot be made smaller so.
    """
    check_losses(losses, None, who=f"the method {group.name}")
    first = [_first(task, group.name, number, losses, fine_tuning) for number in range(task.students)]
    _check_body(around, first[0], who=group.name)
    second = [
        _second(task.taught(group.name, number, losses, network=around), one, fine_tuning, keep)
        for number, one in enumerate(first)
    ]
    share = f"In the last {100 * fine_tuning:g} % of the updates"
    about = f"{group.about} {share} they are fine-tuned so, and distilled throughout: {described(losses)}."
    plan = Plan((*first, *second), (replace(group, about=about),), systems_of(second, group))
    if not without_teacher:
        return plan
    hard_name = f"{group.name}-hard"
    hard = [
        _second(_on_hard_labels(task, hard_name, number, around), one, fine_tuning, keep)
        for number, one in enumerate(first)
    ]
    beside = Group(
        hard_name,
        f"{group.label}, hard",
        note="fine-tuned on hard labels",
        plural=f"{group.networks_label}, fine-tuned on hard labels",
    )
    return Plan((*plan.jobs, *hard), (*plan.groups, beside), (*plan.systems, *systems_of(hard, beside)))


def _first(task: Task, name: str, number: int, losses: Sequence[Weighted], fine_tuning: float) -> Job:
    job = task.taught(f"{name}-full", number, losses)
    return replace(job, epochs=_epochs(job) * (1 - fine_tuning))


def _second(job: Job, before: Job, fine_tuning: float, keep: Literal["best", "last"]) -> Job:
    return replace(job, epochs=_epochs(job) * fine_tuning, start_from=before.name, keep=keep)


def _on_hard_labels(task: Task, name: str, number: int, around: NetworkAround) -> Job:
    job = task.untaught(name, number, HARD)
    return replace(job, networks={one: around(network) for one, network in job.networks.items()})


def _epochs(job: Job) -> float:
    return job.epochs or job.budget.epochs


def _check_body(around: NetworkAround, job: Job, *, who: str) -> None:
    """Refuse a student whose network cannot be made smaller so, whatever its inputs are."""
    asked = around(job.network)
    refused = network_class(asked.name).refuses(asked.settings)
    if refused:
        raise UserError(f"the method {who}: {refused}")
