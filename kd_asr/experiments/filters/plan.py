"""The trainings of the experiment: for each seed a teacher, a student on hard labels, and a student of the teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from kd_asr.experiments.filters.network import FilterCnn, FilterCnnSettings
from kd_asr.experiments.filters.settings import FiltersSettings
from kd_asr.jobs.job import Job, network_seed
from kd_asr.methods.base import live
from kd_asr.registry import Named, name_of
from kd_asr.training.settings import TrainSettings

Kind = Literal["teacher", "hard", "distilled"]
# Labels in tables and plots.
KINDS: dict[Kind, str] = {"teacher": "teacher", "hard": "student on hard labels", "distilled": "distilled student"}
# Makes a training on hard labels: name of the artifact, network, seed.
JobOf = Callable[[str, Named, int], Job]


@dataclass(frozen=True)
class FilterNetwork:
    """One network of the experiment: its kind, the number of its seed, and its training."""

    kind: Kind
    number: int
    job: Job


def moments_of(updates: int, count: int) -> tuple[int, ...]:
    """Numbers of updates after which networks are compared, at most `count`: 0, then each about twice the one before,
    to `updates`."""
    return tuple(sorted({0, *(max(1, round(updates / 2**number)) for number in range(count - 1))}))


def filter_networks(own: FiltersSettings, seed: int, job_of: JobOf, updates: int) -> list[FilterNetwork]:
    """All networks, the teachers first.

    The students of a seed have the same initial weights and order of the data. Distilled students ask their teacher in
    every update, about the inputs as they see them.

    Args:
        own: settings of the experiment.
        seed: of the run.
        job_of: makes a training on hard labels.
        updates: of every training.
    """
    kept = moments_of(updates, own.moments)[:-1]  # the last moment is the trained network itself
    teacher = _network(own, own.teacher_channels, own.teacher_hidden_units, kept)
    student = _network(own, own.channels, own.hidden_units, kept)

    def job(kind: Kind, number: int) -> Job:
        drawn = "teacher" if kind == "teacher" else "student"
        made = job_of(
            f"filter_networks/{kind}-{number:02d}",
            teacher if kind == "teacher" else student,
            network_seed(seed, f"filters/{drawn}-{number}"),
        )
        if kind == "distilled":
            made = replace(made, teacher=live(f"filter_networks/teacher-{number:02d}"), losses=own.losses)
        budget = replace(made.budget, epochs=TrainSettings().epochs)  # not in use, and so not in the fingerprint
        return replace(made, budget=budget, epochs=own.epochs, keep="last")

    return [FilterNetwork(kind, number, job(kind, number)) for kind in KINDS for number in range(own.seeds)]


def _network(own: FiltersSettings, channels: int, hidden_units: int, kept: tuple[int, ...]) -> Named:
    settings = FilterCnnSettings(
        channels=channels,
        hidden_units=hidden_units,
        kernel_height=own.kernel_height,
        kernel_width=own.kernel_width,
        keep_at=kept,
    )
    return Named("network", name_of("network", FilterCnn), settings)
