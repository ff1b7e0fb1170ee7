"""Networks of the experiment `privileged` on speech."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from kd_asr.distillation.objectives import HARD
from kd_asr.errors import UserError
from kd_asr.experiments.heard.degraded import frames_as_heard
from kd_asr.experiments.heard.settings import Case
from kd_asr.jobs.job import MODEL, Job, TeacherSpec, network_seed
from kd_asr.registry import Named, named
from kd_asr.stages.plan import student_budget, variation
from kd_asr.stages.settings import Settings
from kd_asr.tasks.heard import HeardSpeech

Arm = Literal["plain", "unprivileged", "privileged"]
# Labels in the report, in its order.
ARMS: dict[Arm, str] = {
    "plain": "student on hard labels",
    "unprivileged": "student of teachers without the privilege",
    "privileged": "student of the privileged teachers",
}
CASES: dict[Case, str] = {
    "noisy": "speech in noise; the privileged teachers hear it clean",
    "telephone": "speech by telephone; the privileged teachers hear the full band",
    "low_latency": "no frame after the one that is labelled; the privileged teachers see their whole window",
}
# Setting of networks that see windows: frames after the one that is labelled.
_FUTURE = "right_context"


@dataclass(frozen=True)
class Student:
    """One student: its case, what it learns from, its number, and its training."""

    case: Case
    arm: Arm
    number: int
    job: Job


def teachers_as_heard(settings: Settings, case: Case) -> list[Job]:
    """Teachers without the privilege, which hear what their students hear."""
    count = settings.privileged.teachers or settings.ensemble.members
    return [
        _job(settings, f"heard_networks/{case}-teacher-{number:02d}", case, settings.teacher_network)
        for number in range(count)
    ]


def posteriors_as_heard(case: Case) -> str:
    """Artifact with the posteriors of the teachers without the privilege."""
    return f"heard_posteriors/{case}"


def students(settings: Settings) -> list[Student]:
    """All students; those of one case and number begin with the same weights, and meet the data in one order."""
    return [
        Student(case, arm, number, _student(settings, case, arm, number))
        for case in settings.privileged.cases
        for arm in ARMS
        for number in range(settings.privileged.students)
    ]


def _student(settings: Settings, case: Case, arm: Arm, number: int) -> Job:
    job = replace(
        _job(settings, f"heard_networks/{case}-{arm}-{number:02d}", case, settings.student_network),
        budget=student_budget(settings),
        seed=network_seed(settings.seed, f"heard/{case}-{number}"),
    )
    if arm == "plain":
        return job
    assert isinstance(job.data, HeardSpeech)
    seen, store = ("features", "posteriors") if arm == "privileged" else (job.data.frames, posteriors_as_heard(case))
    return replace(
        job,
        data=replace(job.data, of_teacher=seen),
        losses=settings.privileged.losses,
        teacher=TeacherSpec(named("teacher", "stored"), (store,)),
    )


def _job(settings: Settings, name: str, case: Case, network: Named) -> Job:
    return Job(
        name=name,
        networks={MODEL: _without_future(network) if case == "low_latency" else network},
        data=HeardSpeech(variation(settings), frames_as_heard(case)),
        losses=HARD,
        budget=settings.train,
        seed=network_seed(settings.seed, name),
    )


def _without_future(network: Named) -> Named:
    """The network without the frames after the one that it labels.

    Raises:
        UserError: it has no such setting.
    """
    if not hasattr(network.settings, _FUTURE):
        raise UserError(
            f"privileged.cases: the network {network.name} has no setting {_FUTURE} that could leave out the future: "
            "choose dnn or cnn, or leave out low_latency"
        )
    return replace(network, settings=replace(network.settings, **{_FUTURE: 0}))
