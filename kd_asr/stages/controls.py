"""Networks that say what a student's gain comes from: baselines with the students' updates, smaller students beside
networks of their size on hard labels, and students with a share of the unlabelled audio."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kd_asr.jobs.job import Job
from kd_asr.jobs.systems import Group, System, single_systems
from kd_asr.methods.base import Plan
from kd_asr.stages.plan import SpeechTask, hard_job, plans, student_budget
from kd_asr.stages.settings import Settings
from kd_asr.tasks.speech import SpeechData


@dataclass(frozen=True)
class Twins:
    """Baselines with the size and the updates of a group of students.

    Attributes:
        size: Share of the parameters of the students' network.
        jobs: Trainings.
        group: Group of the systems.
        systems: One for each network.
    """

    size: float
    jobs: tuple[Job, ...]
    group: Group
    systems: tuple[System, ...]


@dataclass(frozen=True)
class Smaller:
    """Students of the first method with a share of its parameters, and their twins."""

    plan: Plan
    twins: Twins


def long_baselines(settings: Settings) -> Twins | None:
    """Baselines with the students' updates, if these differ from the usual ones."""
    if student_budget(settings) == settings.train:
        return None
    return _twins(settings, 1.0)


def smaller_students(settings: Settings) -> list[Smaller]:
    """Students of each size in `distil.sizes` but the full one."""
    return [_smaller(settings, size) for size in settings.distil.sizes if size != 1]


def _smaller(settings: Settings, size: float) -> Smaller:
    plan = settings.methods[0].make().plan(SpeechTask(settings, size))
    twins = _twins(settings, size)

    def smaller(group: Group) -> Group:
        return replace(
            group,
            name=f"{group.name}-{size:g}",
            label=f"{group.label}, size {size:g}",
            colour="",
            noun=f"{group.in_a_sentence} of size {size:g}",
            plural=f"{group.networks_label} of size {size:g}",
            about="",
            paper="",
            twin=twins.group.name,
            size=size,
        )

    return Smaller(plan.grouped(smaller), twins)


def _twins(settings: Settings, size: float) -> Twins:
    full = size == 1
    name = "baseline-long" if full else f"baseline-{size:g}"
    names = [f"baseline/{name}-{number:02d}" for number in range(settings.baseline.networks)]
    jobs = tuple(
        replace(hard_job(settings, one, settings.student_network), budget=student_budget(settings), size=size)
        for one in names
    )
    group = Group(
        name,
        "baseline, students' updates" if full else f"baseline, size {size:g}",
        note="hard labels",
        noun="baseline with the students' updates" if full else f"baseline of size {size:g}",
        plural="baselines with the students' updates" if full else f"baselines of size {size:g}",
        about=_about_long(settings) if full else "",
        size=size,
    )
    return Twins(size, jobs, group, single_systems(name, names))


def _about_long(settings: Settings) -> str:
    return (
        f"Students have the updates of {student_budget(settings).epochs} epochs, other networks those of "
        f"{settings.train.epochs}. The second group of baselines has the students' updates, so that what the longer "
        "training brings can be told from what the ensemble brings."
    )


def control_jobs(settings: Settings) -> list[Job]:
    """Trainings of all of these networks but the students with a share of the unlabelled audio."""
    long, smaller = long_baselines(settings), smaller_students(settings)
    of_students = [job for one in smaller for job in one.plan.jobs]
    of_twins = [job for twins in ([long] if long else []) + [one.twins for one in smaller] for job in twins.jobs]
    return [*of_students, *of_twins]


def share_jobs(settings: Settings) -> dict[float, list[Job]]:
    """Students of the first method for each share of the unlabelled audio in `distil.unlabelled_fractions`.

    They have the seeds of the method's students, which are those of the share 1.
    """
    if not settings.unlabelled_folders or not settings.distil.unlabelled_fractions:
        return {}
    students = plans(settings)[0].students
    return {
        fraction: [_with_share(job, fraction) for job in students]
        for fraction in sorted(settings.distil.unlabelled_fractions)
    }


def _with_share(job: Job, fraction: float) -> Job:
    if fraction == 1:
        return job
    assert isinstance(job.data, SpeechData)
    if fraction == 0:
        data = replace(job.data, unlabelled="", labelled_share=None)
    else:
        data = replace(job.data, unlabelled_fraction=fraction)
    return replace(job, name=f"share_networks/{fraction:g}-{job.name.rsplit('/', maxsplit=1)[-1]}", data=data)
