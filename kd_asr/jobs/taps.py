"""Check of the middle layers that losses name, before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kd_asr.jobs.job import Job
from kd_asr.networks.base import tap_width, taps_of
from kd_asr.registry import Named


def check_taps(jobs: Iterable[Job], *, teacher: Named, shape_of: Callable[[Named], tuple[int, ...]]) -> None:
    """Refuse losses on middle layers that student or teacher does not have.

    Args:
        jobs: trainings of students.
        teacher: network of the teachers.
        shape_of: shape of the inputs of a network.

    Raises:
        UserError: names the layer, and those that there are.
    """
    for job in jobs:
        for name, loss in job.tap_losses.items():
            student = job.network
            for who, network, tap in (("student", student, loss.student_tap), ("teacher", teacher, loss.teacher_tap)):
                taps = taps_of(network, shape_of(network))
                tap_width(taps, tap, who=f"the loss {name}: the {who}'s network {network.name}")
