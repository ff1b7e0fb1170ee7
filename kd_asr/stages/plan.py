"""The trainings of the main job, planned from its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kd_asr.distillation.objectives import HARD, hinton_losses
from kd_asr.features.settings import AugmentSettings
from kd_asr.jobs.job import MODEL, Job, TeacherSpec, network_seed, teacher_spec
from kd_asr.methods.base import Plan, cohort, planned
from kd_asr.registry import Named, Weighted
from kd_asr.stages.settings import Settings
from kd_asr.tasks.speech import SpeechData

# Artifact of the alignment that realignment networks learn from.
FIRST_ALIGNMENT = "mixture_alignment"


def member_names(settings: Settings) -> list[str]:
    """Artifacts of the teachers."""
    return [f"ensemble/member-{number:02d}" for number in range(settings.ensemble.members)]


def baseline_names(settings: Settings) -> list[str]:
    """Artifacts of the baselines."""
    return [f"baseline/baseline-{number:02d}" for number in range(settings.baseline.networks)]


def member_jobs(settings: Settings) -> list[Job]:
    """Trainings of the teachers, which differ only in initial weights and order of the data."""
    return [hard_job(settings, name, settings.teacher_network) for name in member_names(settings)]


def baseline_jobs(settings: Settings) -> list[Job]:
    """Trainings of the baselines on hard labels."""
    return [hard_job(settings, name, settings.student_network) for name in baseline_names(settings)]


@dataclass(frozen=True)
class SpeechTask:
    """Students of a run's ensemble, or networks like them on hard labels, for the methods.

    Attributes:
        settings: Settings of the run.
    """

    settings: Settings
    paper_row = "Distilled Single model"

    @property
    def students(self) -> int:
        """Students of each method."""
        return self.settings.distil.students

    def taught(self, name: str, number: int, losses: Sequence[Weighted]) -> Job:
        """A student of the ensemble."""
        return soft_job(self.settings, f"distil/{name}-{number:02d}", losses)

    def untaught(self, name: str, number: int, losses: Sequence[Weighted], *, networks: int = 1) -> Job:
        """A training like a baseline's, with other losses."""
        job = hard_job(self.settings, f"distil/{name}-{number:02d}", self.settings.student_network)
        return replace(job, networks=cohort(job.network, networks), losses=tuple(losses))


def plans(settings: Settings) -> list[Plan]:
    """Plans of the methods of a run.

    Raises:
        UserError: a method cannot work with these settings, or two of them have the same name.
    """
    return planned(settings.methods, SpeechTask(settings))


def student_jobs(settings: Settings) -> list[Job]:
    """The trainings of all methods."""
    return [job for plan in plans(settings) for job in plan.jobs]


def sweep_points(settings: Settings) -> list[tuple[float, float]]:
    """Temperature and weight of the hard loss of each student of the sweep."""
    distil = settings.distil
    return [(t, weight) for t in distil.sweep_temperatures for weight in distil.sweep_hard_weights]


def sweep_jobs(settings: Settings) -> list[Job]:
    """A student for each of `sweep_points`, all with the same initial weights and order of the data."""
    seed = network_seed(settings.seed, "sweep")
    return [
        soft_job(
            settings,
            f"sweep_networks/temperature-{temperature:g}-hard-{weight:g}",
            hinton_losses(temperature=temperature, soft_weight=1.0, hard_weight=weight),
            seed=seed,
        )
        for temperature, weight in sweep_points(settings)
    ]


def realignment_jobs(settings: Settings) -> list[Job]:
    """Trainings of networks like the teachers on the first alignment, for `align.network_epochs` epochs."""
    brief = replace(settings, train=replace(settings.train, epochs=settings.align.network_epochs))
    names = [f"align_networks/network-{number:02d}" for number in range(settings.align.networks)]
    return [hard_job(brief, name, settings.teacher_network, aligned=FIRST_ALIGNMENT) for name in names]


def hard_job(settings: Settings, name: str, network: Named, *, aligned: str = "align") -> Job:
    """A network on hard labels; with the labels of `align` it learns from the copies of `augment` as well."""
    copies = "augment" if settings.augment.copies > 0 and aligned == "align" else ""
    return Job(
        name=name,
        networks={MODEL: network},
        data=SpeechData(variation(settings), aligned=aligned, copies=copies, vary_copies=True),
        losses=HARD,
        budget=settings.train,
        seed=network_seed(settings.seed, name),
    )


def soft_job(settings: Settings, name: str, losses: Sequence[Weighted], *, seed: int | None = None) -> Job:
    """A student on the ensemble's soft targets and on hard labels, of the training set and `transfer`'s copies."""
    network, distil = settings.student_network, settings.distil
    if distil.dropout is not None:
        network = replace(network, settings=replace(network.settings, dropout=distil.dropout))
    return Job(
        name=name,
        networks={MODEL: network},
        data=SpeechData(variation(settings), copies="transfer"),
        losses=tuple(losses),
        budget=settings.train,
        seed=network_seed(settings.seed, name) if seed is None else seed,
        teacher=ensemble_as_teacher(settings),
    )


def ensemble_as_teacher(settings: Settings) -> TeacherSpec:
    """The ensemble as `distil.teacher` has it: by its posterior store, or by its networks."""
    return teacher_spec(
        settings.distil.teacher,
        store="posteriors",
        networks=member_names(settings),
        average=settings.ensemble.average,
    )


def variation(settings: Settings) -> AugmentSettings:
    """Variation of the inputs alone: the copies are an artifact, whose fingerprint has their settings."""
    absent = AugmentSettings()
    return replace(settings.augment, copies=absent.copies, copy_rate=absent.copy_rate)
