"""Experiment `privileged` of the MNIST recipe: students that see less of an image than their teachers (Lopez-Paz,
Bottou, Schoelkopf, Vapnik, ICLR 2016, arXiv 1511.03643)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.distillation.objectives import HARD
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import digit_job, digit_log_posteriors, store_posteriors, train
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.jobs.job import Job, TeacherSpec, network_seed
from kd_asr.jobs.systems import NetworkRef
from kd_asr.registry import named
from kd_asr.tasks.digits import DIGITS, DigitArrays, DigitData
from kd_asr.tasks.labelled_subset import LabelledSubset

Kind = Literal["teacher", "plain", "privileged", "unprivileged"]
# Labels in the report; `unprivileged` has the teacher that `plain` is.
KINDS: dict[Kind, str] = {
    "teacher": "teacher, high resolution",
    "plain": "student on hard labels, low resolution",
    "privileged": "student of the teacher, low resolution",
    "unprivileged": "student of a teacher at low resolution",
}


@dataclass(frozen=True)
class Privileged:
    """One network of the experiment: what it learns from, number of images, and repetition."""

    kind: Kind
    images: int
    repetition: int
    job: Job


def privileged(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train the networks; `privileged/wrong.npy` says which test images each got wrong, (networks, images) bool.

    There is no dev: nothing is chosen. Test is read once.
    """
    source = digits(run_dir, settings)
    labels = DigitArrays.load(run_dir / DIGITS)
    planned = privileged_jobs(settings, len(labels.train_labels))
    first = [one for one in planned if one.job.teacher is None]
    described = f"{len(first)} teachers, and students on hard labels"
    networks = train(run_dir, settings, [one.job for one in first], described)
    store_posteriors(run_dir, settings, {_store(one.job): [one.job.name] for one in first})
    then = [one for one in planned if one.job.teacher is not None]
    networks += train(run_dir, settings, [one.job for one in then], f"{len(then)} distilled students")

    def work(folder: Path) -> dict[str, Any]:
        systems = [[NetworkRef(one.job.name)] for one in planned]
        outputs = digit_log_posteriors(run_dir, settings, systems, "test")
        wrong = np.stack([one.argmax(axis=1) != labels.test_labels.numpy() for one in outputs])
        np.save(folder / "wrong.npy", wrong)
        rows = [
            {"kind": one.kind, "images": one.images, "repetition": one.repetition, "errors": int(errors)}
            for one, errors in zip(planned, wrong.sum(axis=1), strict=True)
        ]
        side = labels.train_images.shape[1]
        sides = {"side": side, "low_side": side // settings.low_resolution}
        return {"test": wrong.shape[1], **sides, "labels": dict(KINDS), "rows": rows}

    return build_artifact(
        run_dir,
        "privileged",
        code=__name__,
        settings={"networks": [one.job.name for one in planned], "scale": settings.low_resolution},
        inputs=[source, *networks],
        work=work,
    )


def privileged_jobs(settings: MnistSettings, count: int) -> list[Privileged]:
    """All networks of the experiment.

    Networks of one repetition learn from the same images, and the students among them begin with the same weights.

    Args:
        settings: settings of the run.
        count: training images that there are.
    """
    sizes = sorted({min(images, count) for images in settings.privileged.images})
    return [
        one for images in sizes for repetition in range(settings.privileged.seeds)
        for one in _repetition(settings, images, count, repetition)
    ]  # fmt: skip


def _repetition(settings: MnistSettings, images: int, count: int, repetition: int) -> list[Privileged]:
    recipe = settings.privileged
    subset = LabelledSubset(images / count, network_seed(settings.seed, f"privileged/part-{repetition}"))

    def job(kind: Kind, *, scale: int, taught_by: Job | None = None) -> Job:
        drawn = "teacher" if kind == "teacher" else "student"
        stored = named("teacher", "stored")
        plain = digit_job(
            f"privileged_networks/{images}-{kind}-{repetition}",
            recipe,
            seed=network_seed(settings.seed, f"privileged/{drawn}-{repetition}"),
            teacher=TeacherSpec(stored, (_store(taught_by),)) if taught_by is not None else None,
            losses=recipe.losses if taught_by is not None else HARD,
        )
        return replace(plain, data=DigitData("all", recipe.jitter_pixels, subset=subset, scale=scale))

    low = settings.low_resolution
    teacher, alone = job("teacher", scale=1), job("plain", scale=low)
    distilled = job("privileged", scale=low, taught_by=teacher)
    unprivileged = job("unprivileged", scale=low, taught_by=alone)
    kinds: dict[Kind, Job] = {
        "teacher": teacher, "plain": alone, "privileged": distilled, "unprivileged": unprivileged,
    }  # fmt: skip
    return [Privileged(kind, images, repetition, made) for kind, made in kinds.items()]


def _store(job: Job) -> str:
    """Artifact of a network's posteriors."""
    return f"posteriors/privileged-{job.name.rsplit('/', maxsplit=1)[-1]}"
