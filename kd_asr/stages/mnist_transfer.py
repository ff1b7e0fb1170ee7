"""Experiments `omit3` and `only78` of the MNIST recipe: transfer sets that lack digits, their bias corrected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.corpora.mnist import CLASSES
from kd_asr.evaluation.bias import add_bias, best_bias
from kd_asr.mnist_config import MnistSettings, SoftLossSettings
from kd_asr.stages.mnist_digits import NAME as DIGITS
from kd_asr.stages.mnist_digits import DigitArrays, digits
from kd_asr.stages.mnist_networks import (
    CHOOSING_TEACHER,
    DigitTask,
    digit_log_posteriors,
    posteriors_name,
    teacher_name,
    train_digit_networks,
    train_teachers,
    with_updates_of,
)
from kd_asr.stages.systems import network_seed

SEEN = {"omit3": tuple(digit for digit in range(CLASSES) if digit != 3), "only78": (7, 8)}


def omit3(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Students that never see a 3: `omit3/`."""
    return _transfer(run_dir, settings, "omit3")


def only78(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Students that see 7s and 8s only: `only78/`."""
    return _transfer(run_dir, settings, "only78")


def _transfer(run_dir: Path, settings: MnistSettings, experiment: str) -> Artifact:
    """Train the students and count errors before and after a bias is added to the digits they have not seen.

    The bias is fitted on dev by a student, and its teacher, that have not seen dev; the students whose errors on
    test are counted learn from all images of the transfer set. For comparison it is also fitted on test itself, as
    in the paper.
    """
    laid = digits(run_dir, settings)
    seen = SEEN[experiment]
    unseen = tuple(digit for digit in range(CLASSES) if digit not in seen)
    arrays = DigitArrays.load(laid.path)
    share = float(np.isin(arrays.train_labels.numpy(), seen).mean())
    teachers = [teacher_name(number) for number in range(settings.seeds)]
    train_teachers(run_dir, settings, [CHOOSING_TEACHER, *teachers])
    name = f"networks/{experiment}-choosing"
    common = DigitTask(
        run_dir,
        name,
        network_seed(settings.seed, name),
        with_updates_of(settings.distilled, epochs=settings.transfer.epochs, share=share),
        images="all but dev",
        classes=seen,
        posteriors=posteriors_name(CHOOSING_TEACHER),
        objective=SoftLossSettings(
            temperature=settings.transfer.temperature, soft_weight=1.0, hard_weight=settings.transfer.hard_weight
        ),
        jobs=settings.jobs,
    )
    tasks = [common]
    for number, teacher in enumerate(teachers):
        name = f"networks/{experiment}-{number:02d}"
        seed = network_seed(settings.seed, name)
        tasks.append(replace(common, name=name, seed=seed, images="all", posteriors=posteriors_name(teacher)))
    trained = train_digit_networks(tasks, description=f"{experiment}: {len(tasks)} students")

    def work(folder: Path) -> dict[str, Any]:
        labels = DigitArrays.load(load_artifact(run_dir, DIGITS).path).test_labels.numpy()
        dev_labels = arrays.train_labels[arrays.dev].numpy()
        [dev] = digit_log_posteriors(run_dir, [[tasks[0].name]], "dev")
        bias = best_bias(dev, dev_labels, unseen)
        rows = []
        for log_probs in digit_log_posteriors(run_dir, [[task.name] for task in tasks[1:]], "test"):
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
            "transfer_images": trained[1].metrics["images"],
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
        settings={"networks": [task.name for task in tasks]},
        inputs=[laid, *trained],
        work=work,
    )


def _errors(log_probs: np.ndarray, labels: np.ndarray, unseen: tuple[int, ...]) -> dict[str, int]:
    """Errors in all, and those on images of the digits that were not seen."""
    wrong = log_probs.argmax(axis=1) != labels
    return {"errors": int(wrong.sum()), "errors_on_unseen": int(wrong[np.isin(labels, unseen)].sum())}
