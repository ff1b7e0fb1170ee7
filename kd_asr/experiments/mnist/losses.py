"""Experiment `losses` of the MNIST recipe: several losses against the same teacher at equal budget, compared on dev."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.distillation.losses.kl import KlSettings
from kd_asr.distillation.losses.logits import LogitsSettings, squared_logit_difference
from kd_asr.distillation.losses.reverse_kl import ReverseKlSettings
from kd_asr.distillation.losses.soft import SoftSettings, soft_cross_entropy
from kd_asr.distillation.signal import SoftTargets, top_k_targets
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import (
    CHOOSING_TEACHER,
    digit_job,
    digit_log_posteriors,
    network_as_teacher,
    train,
    train_teachers,
)
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.jobs.job import Job, network_seed
from kd_asr.jobs.systems import NetworkRef
from kd_asr.registry import Named, Weighted

LIMIT_TEMPERATURES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


def losses(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train students with each loss alone, without hard labels: `losses/`; test is not read.

    Students with the same number have the same initial weights and order of the images. The high-temperature limit is
    computed from the logits of teacher and student for the dev images.
    """
    source = digits(run_dir, settings)
    train_teachers(run_dir, settings, [CHOOSING_TEACHER])
    compared, jobs = zip(*losses_jobs(settings), strict=True)
    trained = train(run_dir, settings, jobs, f"{len(jobs)} students, {len({one.name for one in compared})} losses")

    def work(folder: Path) -> dict[str, Any]:
        systems = [[NetworkRef(CHOOSING_TEACHER)], [NetworkRef(jobs[0].name)]]
        teacher_logits, student_logits = map(
            torch.from_numpy, digit_log_posteriors(run_dir, settings, systems, "dev")
        )
        rows = [
            {
                "loss": loss.name,
                "label": loss.label,
                "dev_errors": round((1 - artifact.metrics["dev_accuracy"]) * len(teacher_logits)),
                "dev_cross_entropy": artifact.metrics["dev_cross_entropy"],
            }
            for loss, artifact in zip(compared, trained, strict=True)
        ]
        targets = top_k_targets(teacher_logits.double(), teacher_logits.shape[1])
        return {
            "dev": len(teacher_logits),
            "temperature": settings.losses.temperature,
            "rows": rows,
            "limit": [
                {
                    "temperature": temperature,
                    "relative_difference": limit_difference(student_logits, targets, temperature),
                }
                for temperature in LIMIT_TEMPERATURES
            ],
        }

    return build_artifact(
        run_dir,
        "losses",
        code=__name__,
        settings={"networks": [job.name for job in jobs], "temperature": settings.losses.temperature},
        inputs=[source, *trained],
        work=work,
    )


@dataclass(frozen=True)
class _Compared:
    """A loss, its name in the names of networks, and its label in the report."""

    name: str
    label: str
    loss: Named


def losses_jobs(settings: MnistSettings) -> list[tuple[_Compared, Job]]:
    """Each loss with the job of a student; students with the same number have the same seed."""
    temperature = settings.losses.temperature
    compared = (
        _Compared("soft_cross_entropy", "soft cross-entropy", Named("loss", "soft", SoftSettings(temperature))),
        _Compared("kl_teacher_to_student", "KL(teacher || student)", Named("loss", "kl", KlSettings(temperature))),
        _Compared(
            "kl_student_to_teacher",
            "KL(student || teacher)",
            Named("loss", "reverse_kl", ReverseKlSettings(temperature)),
        ),
        _Compared(
            "squared_logit_difference", "squared difference of logits", Named("loss", "logits", LogitsSettings())
        ),
    )
    return [
        (
            one,
            digit_job(
                f"networks/loss-{one.name.replace('_', '-')}-{number:02d}",
                replace(settings.distilled, epochs=settings.losses.epochs),
                seed=network_seed(settings.seed, f"losses-{number}"),
                images="all but dev",
                teacher=network_as_teacher(settings, CHOOSING_TEACHER),
                losses=(Weighted(one.loss),),
            ),
        )
        for one in compared
        for number in range(settings.losses.students)
    ]


def limit_difference(logits: torch.Tensor, targets: SoftTargets, temperature: float) -> float:
    """Distance of the gradient of T^2 times the soft loss from its limit (z - v) / N, relative to the limit's norm.

    Args:
        logits: (batch, classes) logits z.
        targets: soft targets of the same batch, with log-probabilities v.
        temperature: temperature T.
    """

    z = logits.double().clone().requires_grad_()

    def gradient(loss: Callable[..., torch.Tensor], **options: float) -> torch.Tensor:
        return torch.autograd.grad(loss(z, targets, **options).sum(), z)[0]

    limit = gradient(squared_logit_difference)
    return float((gradient(soft_cross_entropy, temperature=temperature) - limit).norm() / limit.norm())
