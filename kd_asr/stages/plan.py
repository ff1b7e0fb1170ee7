"""The trainings of the main job, planned from its settings."""

from __future__ import annotations

from dataclasses import replace

from kd_asr.distillation.objectives import HARD, hinton_losses
from kd_asr.features.settings import AugmentSettings
from kd_asr.jobs.job import MODEL, Job, StoredPosteriors, network_seed
from kd_asr.registry import Named
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import baseline_names, member_names, student_names
from kd_asr.tasks.speech import SpeechData

# Artifact of the alignment that realignment networks learn from.
FIRST_ALIGNMENT = "mixture_alignment"


def member_jobs(settings: Settings) -> list[Job]:
    """The teachers: equal but for initial weights and order of the data."""
    return [hard_job(settings, name, settings.teacher_network) for name in member_names(settings)]


def baseline_jobs(settings: Settings) -> list[Job]:
    """Networks on hard labels, which the students are compared with."""
    return [hard_job(settings, name, settings.student_network) for name in baseline_names(settings)]


def student_jobs(settings: Settings) -> list[Job]:
    """Students on the ensemble's posteriors and hard labels."""
    return [soft_job(settings, name) for name in student_names(settings)]


def sweep_points(settings: Settings) -> list[tuple[float, float]]:
    """Temperature and weight of the hard loss of each student of the sweep."""
    distil = settings.distil
    return [(t, weight) for t in distil.sweep_temperatures for weight in distil.sweep_hard_weights]


def sweep_jobs(settings: Settings) -> list[Job]:
    """A student for each of `sweep_points`, all with the same initial weights and order of the data."""
    seed = network_seed(settings.seed, "sweep")
    return [
        soft_job(
            replace(settings, distil=replace(settings.distil, temperature=temperature, hard_weight=weight)),
            f"sweep_networks/temperature-{temperature:g}-hard-{weight:g}",
            seed=seed,
        )
        for temperature, weight in sweep_points(settings)
    ]


def realignment_jobs(settings: Settings) -> list[Job]:
    """Networks of the teachers' kind, on the first alignment, for `align.network_epochs` epochs."""
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


def soft_job(settings: Settings, name: str, *, seed: int | None = None) -> Job:
    """A student on the posterior store's soft targets and hard labels, of the training set and `transfer`'s copies."""
    network, distil = settings.student_network, settings.distil
    if distil.dropout is not None:
        network = replace(network, settings=replace(network.settings, dropout=distil.dropout))
    return Job(
        name=name,
        networks={MODEL: network},
        data=SpeechData(variation(settings), copies="transfer"),
        losses=hinton_losses(
            temperature=distil.temperature, soft_weight=distil.soft_weight, hard_weight=distil.hard_weight
        ),
        budget=settings.train,
        seed=network_seed(settings.seed, name) if seed is None else seed,
        teacher=StoredPosteriors("posteriors"),
    )


def variation(settings: Settings) -> AugmentSettings:
    """Variation of the inputs alone: the copies are an artifact, whose fingerprint has their settings."""
    absent = AugmentSettings()
    return replace(settings.augment, copies=absent.copies, copy_rate=absent.copy_rate)
