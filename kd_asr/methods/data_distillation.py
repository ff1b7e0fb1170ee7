"""Data distillation (Radosavovic, Dollar, Girshick, Gkioxari, He, CVPR 2018, arXiv 1712.04440)."""

from __future__ import annotations

from dataclasses import dataclass, field

from kd_asr.distillation.objectives import described, hinton_losses
from kd_asr.distillation.teachers.transforms import TransformsSettings
from kd_asr.jobs.job import TeacherSpec
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, check_losses, one_teacher, systems_of
from kd_asr.registry import Named, Weighted, method


@dataclass(frozen=True)
class DataDistillationMethodSettings:
    """Students of one network, which is asked about several transforms of each input; with unlabelled audio where a run
    has some.

    The paper's batches have six generated labels for four real ones: `distil.labelled_share 0.4`.

    Attributes:
        transforms: Transforms whose posteriors are averaged.
        losses: Losses of a student and their weights (paper: real and generated labels count alike).
    """

    transforms: TransformsSettings = field(default_factory=TransformsSettings)
    losses: tuple[Weighted, ...] = hinton_losses(temperature=1.0, soft_weight=1.0, hard_weight=1.0)


@method("data_distillation")
class DataDistillation:
    """Students on labels and on one network's mean over transforms."""

    Settings = DataDistillationMethodSettings

    def __init__(self, settings: DataDistillationMethodSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        """One training for each student; the first has the first network of an ensemble as its teacher, and so on."""
        losses, asked = self.settings.losses, Named("teacher", "transforms", self.settings.transforms)
        teachers = [TeacherSpec(asked, (one_teacher(task, number),)) for number in range(task.students)]
        check_losses(losses, teachers[0], who="the method data_distillation")
        jobs = tuple(
            task.taught("data-distilled", number, losses, teacher=teacher) for number, teacher in enumerate(teachers)
        )
        group = Group(
            "data-distilled",
            "data distillation",
            "student",
            noun="data-distilled network",
            plural="data-distilled students",
            about="Data distillation (Radosavovic and others 2018) asks one network about several transforms of each "
            f"input, and averages its posteriors: {described(losses)}.",
        )
        return Plan(jobs, (group,), systems_of(jobs, group))
