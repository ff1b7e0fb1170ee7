"""Experiment `losses` of the MNIST recipe: several losses against the same teacher at equal budget, compared on dev."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.distillation.losses.logits import squared_logit_difference
from kd_asr.distillation.losses.soft import soft_cross_entropy
from kd_asr.distillation.signal import SoftTargets, top_k_targets
from kd_asr.mnist_config import MnistSettings
from kd_asr.stages.mnist_digits import digits
from kd_asr.stages.mnist_networks import (
    CHOOSING_TEACHER,
    DigitTask,
    SoftLossAlone,
    digit_log_posteriors,
    posteriors_name,
    train_digit_networks,
    train_teachers,
)
from kd_asr.stages.systems import network_seed

COMPARED = ("soft", "kl", "reverse_kl", "logits")
LIMIT_TEMPERATURES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


def losses(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train students with each loss alone, without hard labels: `losses/`; test is not read.

    Students of equal number have the same initial weights and order of the images. The high-temperature limit is shown
    on the logits of teacher and student for the dev images.
    """
    laid = digits(run_dir, settings)
    train_teachers(run_dir, settings, [CHOOSING_TEACHER])
    tasks = [
        DigitTask(
            run_dir,
            f"networks/loss-{loss.replace('_', '-')}-{number:02d}",
            network_seed(settings.seed, f"losses-{number}"),
            replace(settings.distilled, epochs=settings.losses.epochs),
            images="all but dev",
            posteriors=posteriors_name(CHOOSING_TEACHER),
            objective=SoftLossAlone(loss, settings.losses.temperature),
            jobs=settings.jobs,
        )
        for loss in COMPARED
        for number in range(settings.losses.students)
    ]
    trained = train_digit_networks(tasks, description=f"{len(tasks)} students, {len(COMPARED)} losses")

    def work(folder: Path) -> dict[str, Any]:
        systems = [[CHOOSING_TEACHER], [tasks[0].name]]
        teacher_logits, student_logits = map(
            torch.from_numpy, digit_log_posteriors(run_dir, systems, "dev")
        )
        rows = [
            {
                "loss": task.objective.loss if isinstance(task.objective, SoftLossAlone) else "",
                "dev_errors": artifact.metrics["dev_errors"],
                "dev_cross_entropy": artifact.metrics["dev_cross_entropy"],
            }
            for task, artifact in zip(tasks, trained, strict=True)
        ]
        targets = top_k_targets(teacher_logits.double(), teacher_logits.shape[1])
        return {
            "dev": len(teacher_logits),
            "temperature": settings.losses.temperature,
            "rows": rows,
            "limit": [
                {"temperature": degrees, "relative_difference": limit_difference(student_logits, targets, degrees)}
                for degrees in LIMIT_TEMPERATURES
            ],
        }

    return build_artifact(
        run_dir,
        "losses",
        code=__name__,
        settings={"networks": [task.name for task in tasks], "temperature": settings.losses.temperature},
        inputs=[laid, *trained],
        work=work,
    )


def limit_difference(logits: torch.Tensor, targets: SoftTargets, temperature: float) -> float:
    """How far the gradient of T^2 times the soft loss is from its limit (z - v) / N, relative to the limit's norm.

    Args:
        logits: (batch, classes) z.
        targets: of the same batch, with v as log-probabilities.
        temperature: T.
    """

    z = logits.double().clone().requires_grad_()

    def gradient(loss: Callable[..., torch.Tensor], **options: float) -> torch.Tensor:
        return torch.autograd.grad(loss(z, targets, **options).sum(), z)[0]

    limit = gradient(squared_logit_difference)
    return float((gradient(soft_cross_entropy, temperature=temperature) - limit).norm() / limit.norm())
