"""Which jobs are trained as one network (`training.fit_stacked`): the runner asks, and nobody else knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Literal

from kd_asr.device import Device
from kd_asr.jobs.job import Job
from kd_asr.networks.base import network_class

BatchJobs = Literal["auto", "always", "never"]

# Fields in which jobs of a stack may differ. All others decide shapes, examples or budget, which a stack shares.
_OWN = frozenset({"name", "seed", "losses", "start_from"})


def stackable(one: Job, other: Job) -> bool:
    """Whether two jobs can be trained as one: they differ only in seed, losses and initial weights.

    Networks that learn from each other are a stack's business no more: each of them sees the others' outputs. Losses
    whose weights change are none either: a stack's updates are recorded once. The same holds for networks that are
    pruned while they are trained.
    """
    if max(len(one.networks), len(other.networks)) > 1 or one.last_weights:
        return False
    if not network_class(one.network.name).stacks:
        return False
    if one.needs_more_than_logits or other.needs_more_than_logits:
        return False
    shared = [field.name for field in fields(Job) if field.name not in _OWN]
    return all(getattr(one, name) == getattr(other, name) for name in shared)


def stacks_of(jobs: Sequence[Job], places: int) -> list[tuple[Job, ...]]:
    """Jobs that can be trained as one, together, in the order of the first of each stack.

    Args:
        jobs: to train.
        places: over which every stack is dealt evenly, such as graphics cards.
    """
    alike: list[list[Job]] = []
    for job in jobs:
        stack = next((stack for stack in alike if stackable(stack[0], job)), None)
        if stack is None:
            alike.append([job])
        else:
            stack.append(job)
    parts = [stack[place::places] for stack in alike for place in range(places)]
    return [tuple(part) for part in parts if part]


def trains_as_one(wanted: BatchJobs, device: Device) -> bool:
    """Whether jobs are stacked: with `auto` where that is faster, on graphics cards."""
    return device.is_faster_in_batches if wanted == "auto" else wanted == "always"
