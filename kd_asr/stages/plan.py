"""The trainings of the main job, planned from its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from kd_asr.distillation.objectives import HARD, hinton_losses
from kd_asr.distillation.teachers.pretrained import TARGETS, PretrainedTeacher
from kd_asr.errors import UserError
from kd_asr.features.settings import AugmentSettings
from kd_asr.jobs.job import MODEL, Data, Job, TeacherSpec, as_name, network_seed, teacher_spec
from kd_asr.methods.base import NetworkAround, Plan, cohort, live, planned
from kd_asr.registry import Named, Weighted, find, named
from kd_asr.stages.settings import Settings
from kd_asr.tasks.labelled_subset import LabelledSubset
from kd_asr.tasks.member_stores import member_store
from kd_asr.tasks.speech import SpeechData
from kd_asr.training.settings import TrainSettings

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
    jobs = [hard_job(settings, name, settings.teacher_network) for name in member_names(settings)]
    return [_on_part(settings, job) for job in jobs] if settings.ensemble.held_out > 0 else jobs


def _on_part(settings: Settings, job: Job, *, rest: bool = False) -> Job:
    """A training on what the members of the ensemble see, or on what they do not."""
    seen = 1.0 - settings.ensemble.held_out
    subset = LabelledSubset(seen, network_seed(settings.seed, "held out"), "utterances", rest=rest)
    assert isinstance(job.data, SpeechData)
    return replace(job, data=replace(job.data, subset=subset))


def baseline_jobs(settings: Settings) -> list[Job]:
    """Trainings of the baselines on hard labels."""
    return [hard_job(settings, name, settings.student_network) for name in baseline_names(settings)]


@dataclass(frozen=True)
class SpeechTask:
    """Students of a run's ensemble, or networks like them on hard labels, for the methods.

    Attributes:
        settings: Settings of the run.
        size: Share of the parameters of the students' network; 1: all.
    """

    settings: Settings
    size: float = 1.0
    paper_row = "Distilled Single model"

    @property
    def gives(self) -> frozenset[str]:
        """What losses may need of the data."""
        return self.settings.targets.gives

    @property
    def students(self) -> int:
        """Students of each method."""
        return self.settings.distil.students

    def teachers(self, number: int) -> Sequence[str]:
        """The members of the ensemble."""
        if self.settings.views_differ:
            raise UserError(f"methods: teachers that are asked one by one {self.settings.views_differ}")
        return member_names(self.settings)

    @property
    def members(self) -> Sequence[str]:
        """The members of the ensemble."""
        return member_names(self.settings)

    def one_by_one(self, members: Sequence[str]) -> TeacherSpec:
        """Members by their posterior stores, or live if the students' other teachers are; of networks of frames."""
        self.settings.check_frames("methods that learn from each member of the ensemble")
        if find("teacher", self.settings.distil.teacher.name).source != "networks":
            return TeacherSpec(named("teacher", "members"), tuple(map(member_store, members)))
        return live(*[name for name in self.teachers(0) if name in members])

    def taught(
        self,
        name: str,
        number: int,
        losses: Sequence[Weighted],
        *,
        teacher: TeacherSpec | None = None,
        network: NetworkAround | None = None,
    ) -> Job:
        """A student of the ensemble, or of another teacher."""
        job = soft_job(self.settings, self._artifact(name, number), losses, teacher=teacher, network=network)
        return replace(job, size=self.size)

    def untaught(self, name: str, number: int, losses: Sequence[Weighted], *, networks: int = 1) -> Job:
        """A training like a baseline's, with other losses."""
        job = hard_job(self.settings, self._artifact(name, number), self.settings.student_network)
        return replace(
            job,
            networks=cohort(job.network, networks),
            losses=tuple(losses),
            budget=student_budget(self.settings),
            size=self.size,
        )

    def unseen(self, name: str, number: int, losses: Sequence[Weighted], teacher: TeacherSpec) -> Job:
        """A network like a student on the utterances that `ensemble.held_out` keeps from the members."""
        if self.settings.ensemble.held_out == 0:
            raise UserError(
                "methods: the members of the ensemble see all of train: keep a part for what learns of them with "
                "--ensemble.held_out 0.1"
            )
        job = _on_part(self.settings, self.untaught(name, number, HARD), rest=True)
        return replace(job, losses=tuple(losses), teacher=teacher)

    def _artifact(self, name: str, number: int) -> str:
        return f"distil/{name}-{number:02d}" if self.size == 1 else f"distil/{name}-{self.size:g}-{number:02d}"


def plans(settings: Settings) -> list[Plan]:
    """Plans of the methods of a run.

    Raises:
        UserError: a method cannot work with these settings, or two of them have the same name.
    """
    return planned(settings.methods, SpeechTask(settings))


def student_jobs(settings: Settings) -> list[Job]:
    """The trainings of all methods."""
    return [job for plan in plans(settings) for job in plan.jobs]


@dataclass(frozen=True)
class SweepPoint:
    """What a student of the sweep learns with, beside a soft loss of weight 1.

    Attributes:
        temperature: Temperature of the soft loss.
        hard_weight: Weight of the hard loss.
        labelled_share: Value of `distil.labelled_share`; None: that of the settings.
    """

    temperature: float
    hard_weight: float
    labelled_share: float | None = None


def sweep_axes(settings: Settings) -> dict[str, tuple[float, ...]]:
    """The values to try of each field of `SweepPoint`; shares of labelled audio only where there is unlabelled."""
    distil = settings.distil
    axes = {"temperature": distil.sweep_temperatures, "hard_weight": distil.sweep_hard_weights}
    shares = distil.sweep_labelled_shares if settings.unlabelled_folders else ()
    return {**axes, "labelled_share": shares} if shares else axes


def sweep_points(axes: Mapping[str, Sequence[float]]) -> list[SweepPoint]:
    """Every combination of the values of some axes."""
    return [SweepPoint(**dict(zip(axes, values, strict=True))) for values in product(*axes.values())]


def sweep_jobs(settings: Settings, points: Sequence[SweepPoint]) -> list[Job]:
    """A student for each point, all with the same initial weights and order of the data."""
    return [_sweep_job(settings, point) for point in points]


def _sweep_job(settings: Settings, point: SweepPoint) -> Job:
    name = f"sweep_networks/temperature-{as_name(point.temperature)}-hard-{as_name(point.hard_weight)}"
    if point.labelled_share is not None:
        settings = replace(settings, distil=replace(settings.distil, labelled_share=point.labelled_share))
        name += f"-labelled-{as_name(point.labelled_share)}"
    losses = hinton_losses(temperature=point.temperature, soft_weight=1.0, hard_weight=point.hard_weight)
    return soft_job(settings, name, losses, seed=network_seed(settings.seed, "sweep"))


def realignment_jobs(settings: Settings) -> list[Job]:
    """Trainings of networks like the teachers on the first alignment, for `align.network_epochs` epochs."""
    brief = replace(settings, train=replace(settings.train, epochs=settings.align.network_epochs))
    names = [f"align_networks/network-{number:02d}" for number in range(settings.align.networks)]
    data = SpeechData(variation(settings), aligned=FIRST_ALIGNMENT, vary_copies=True)
    jobs = [hard_job(brief, name, settings.teacher_network) for name in names]
    return [replace(job, data=data, losses=HARD, keep="best") for job in jobs]


def hard_job(settings: Settings, name: str, network: Named) -> Job:
    """A network without a teacher, which learns from the copies of `augment` as well."""
    targets, varied = settings.targets, variation(settings)
    copies = "augment" if settings.augment.copies > 0 else ""
    return Job(
        name=name,
        networks={MODEL: network},
        data=targets.data(varied, copies=copies, vary_copies=True),
        losses=settings.losses,
        budget=settings.train,
        seed=network_seed(settings.seed, name),
        keep=targets.keep,
    )


def soft_job(
    settings: Settings,
    name: str,
    losses: Sequence[Weighted],
    *,
    seed: int | None = None,
    teacher: TeacherSpec | None = None,
    network: NetworkAround | None = None,
) -> Job:
    """A student on the ensemble's soft targets, or another teacher's, and on hard labels, of the training set and
    `transfer`'s copies; `network` is that of `Task.taught`."""
    own, distil = settings.student_network, settings.distil
    if distil.dropout is not None:
        own = replace(own, settings=replace(own.settings, dropout=distil.dropout))
    return Job(
        name=name,
        networks={MODEL: network(own) if network is not None else own},
        data=_transfer_set(settings),
        losses=tuple(losses),
        budget=student_budget(settings),
        seed=network_seed(settings.seed, name) if seed is None else seed,
        teacher=teacher or ensemble_as_teacher(settings),
        keep=settings.targets.keep,
    )


def ensemble_as_teacher(settings: Settings) -> TeacherSpec:
    """The ensemble as `distil.teacher` has it, by its posterior store or by its networks, or the store of another
    model."""
    teacher = settings.distil.teacher
    return teacher_spec(
        teacher,
        store=TARGETS if issubclass(find("teacher", teacher.name), PretrainedTeacher) else "posteriors",
        networks=member_names(settings),
        average=settings.ensemble.average,
        stores=list(map(member_store, member_names(settings))),
    )


def _transfer_set(settings: Settings) -> Data:
    """The training set, `transfer`'s copies of it and, where there is some, unlabelled audio."""
    data = settings.targets.data(variation(settings), copies="transfer")
    if not settings.unlabelled_folders or not isinstance(data, SpeechData):
        return data
    return replace(data, unlabelled="unlabelled", labelled_share=settings.distil.labelled_share)


def student_budget(settings: Settings) -> TrainSettings:
    """Budget of the students: that of all networks, but for `distil.epochs`."""
    return replace(settings.train, epochs=settings.distil.epochs or settings.train.epochs)


def variation(settings: Settings) -> AugmentSettings:
    """Variation of the inputs alone: the copies are an artifact, whose fingerprint has their settings."""
    absent = AugmentSettings()
    return replace(settings.augment, copies=absent.copies, copy_rate=absent.copy_rate)
