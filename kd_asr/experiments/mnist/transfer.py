"""Experiments `omit3` and `only78` of the MNIST recipe: transfer sets that lack digits, their bias corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.corpora.mnist import CLASSES
from kd_asr.distillation.objectives import hinton_losses
from kd_asr.evaluation.bias import add_bias, best_bias
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import (
    CHOOSING_TEACHER,
    digit_job,
    digit_log_posteriors,
    network_as_teacher,
    teacher_name,
    train,
    train_teachers,
    with_updates_of,
)
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.jobs.job import Job, network_seed
from kd_asr.jobs.systems import NetworkRef
from kd_asr.tasks.digits import DIGITS, DigitArrays

SEEN = {"omit3": tuple(digit for digit in range(CLASSES) if digit != 3), "only78": (7, 8)}


def omit3(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train students that never see a 3 into `omit3/`."""
    return _transfer(run_dir, settings, "omit3")


def only78(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train students that see only 7s and 8s into `only78/`."""
    return _transfer(run_dir, settings, "only78")


def _transfer(run_dir: Path, settings: MnistSettings, experiment: str) -> Artifact:
    """Train the students and count errors before and after a bias is added to the digits they have not seen.

    The bias is fitted on dev with a student and a teacher that have not seen dev; the students whose test errors are
    counted learn from all images of the transfer set. For comparison it is also fitted on test itself, as in the
    paper.
    """
    source = digits(run_dir, settings)
    seen = SEEN[experiment]
    unseen = tuple(digit for digit in range(CLASSES) if digit not in seen)
    arrays = DigitArrays.load(source.path)
    train_teachers(run_dir, settings, [CHOOSING_TEACHER, *_teachers(settings)])
    jobs = transfer_jobs(settings, experiment, seen_share(arrays, experiment))
    trained = train(run_dir, settings, jobs, f"{experiment}: {len(jobs)} students")

    def work(folder: Path) -> dict[str, Any]:
        labels = DigitArrays.load(load_artifact(run_dir, DIGITS).path).test_labels.numpy()
        dev_labels = arrays.train_labels[arrays.dev].numpy()
        [dev] = digit_log_posteriors(run_dir, settings, [[NetworkRef(jobs[0].name)]], "dev")
        bias = best_bias(dev, dev_labels, unseen)
        rows = []
        for log_probs in digit_log_posteriors(run_dir, settings, [[NetworkRef(job.name)] for job in jobs[1:]], "test"):
            own_bias = best_bias(log_probs, labels, unseen)
            rows.append(
                {
                    "before": _errors(log_probs, labels, unseen),
                    "corrected_on_dev": _errors(add_bias(log_probs, unseen, bias), labels, unseen),
                    "corrected_on_test": _errors(add_bias(log_probs, unseen, own_bias), labels, unseen),
                    "bias_fitted_on_test": own_bias,
                }
            )
        return {
            "seen": seen,
            "unseen": unseen,
            "transfer_images": trained[1].metrics["examples"],
            "test": len(labels),
            "test_unseen": int(np.isin(labels, unseen).sum()),
            "bias_fitted_on_dev": bias,
            "dev": {
                "before": _errors(dev, dev_labels, unseen),
                "corrected_on_dev": _errors(add_bias(dev, unseen, bias), dev_labels, unseen),
            },
            "students": rows,
        }

    return build_artifact(
        run_dir,
        experiment,
        code=__name__,
        settings={"networks": [job.name for job in jobs]},
        inputs=[source, *trained],
        work=work,
    )


def seen_share(arrays: DigitArrays, experiment: str) -> float:
    """Share of the training images that students of an experiment see."""
    return float(np.isin(arrays.train_labels.numpy(), SEEN[experiment]).mean())


def _teachers(settings: MnistSettings) -> list[str]:
    return [teacher_name(number) for number in range(settings.seeds)]


def transfer_jobs(settings: MnistSettings, experiment: str, share: float) -> list[Job]:
    """Jobs of the student with which the bias is fitted, and of those whose errors are counted; the transfer set is a
    `share` of the images."""
    transfer = settings.transfer
    recipe = with_updates_of(settings.distilled, epochs=transfer.epochs, share=share)
    losses = hinton_losses(temperature=transfer.temperature, soft_weight=1.0, hard_weight=transfer.hard_weight)
    names = [f"networks/{experiment}-choosing", *(f"networks/{experiment}-{n:02d}" for n in range(settings.seeds))]
    return [
        digit_job(
            name,
            recipe,
            seed=network_seed(settings.seed, name),
            images="all but dev" if teacher == CHOOSING_TEACHER else "all",
            classes=SEEN[experiment],
            teacher=network_as_teacher(settings, teacher),
            losses=losses,
        )
        for name, teacher in zip(names, [CHOOSING_TEACHER, *_teachers(settings)], strict=True)
    ]


def _errors(log_probs: np.ndarray, labels: np.ndarray, unseen: tuple[int, ...]) -> dict[str, int]:
    """Numbers of all errors and of those on unseen digits."""
    wrong = log_probs.argmax(axis=1) != labels
    return {"errors": int(wrong.sum()), "errors_on_unseen": int(wrong[np.isin(labels, unseen)].sum())}
