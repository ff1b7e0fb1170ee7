"""Experiment `reduced` of the MNIST recipe: soft targets as regularisers when few labels are left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.corpora.mnist import CLASSES
from kd_asr.corpora.subsets import subset_of_frames
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.teachers.base import IndexedTeacher
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.features.images import Images
from kd_asr.methods.reduced_data import ARMS, Arm, examples_of_arm, objective_of_arm
from kd_asr.mnist_config import MnistSettings
from kd_asr.networks.base import network_class, new_network
from kd_asr.networks.inference import log_posteriors
from kd_asr.parallel import advance, parallel_map
from kd_asr.stages.mnist_digits import NAME as DIGITS
from kd_asr.stages.mnist_digits import DigitArrays, digits
from kd_asr.stages.mnist_networks import (
    CHOOSING_TEACHER,
    TRAINING_SET,
    posteriors_name,
    train_teachers,
)
from kd_asr.stages.networks import measure
from kd_asr.stages.systems import network_seed
from kd_asr.training.examples import Examples, batches_per_epoch
from kd_asr.training.fit import Validation, fit, remove_checkpoint
from kd_asr.training.schedule import measuring_points

# Images of the part whose accuracy is followed during training.
_FOLLOWED = 5000


@dataclass(frozen=True)
class ReducedDigitTask:
    """One network to train: as `reduced_networks.ReducedTask`."""

    run_dir: Path
    fraction: float
    arm: Arm
    repetition: int
    settings: MnistSettings

    @property
    def name(self) -> str:
        """Of the artifact."""
        return f"reduced_networks/{self.fraction:g}-{self.arm}-{self.repetition}"


def reduced(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train the networks; `reduced/correct.npy` says which test images each got right, (systems, images) bool.

    Dev is apart from all parts; early stopping goes by it. The teacher has learnt from all other training images.
    """
    laid = digits(run_dir, settings)
    train_teachers(run_dir, settings, [CHOOSING_TEACHER])
    tasks = [
        ReducedDigitTask(run_dir, fraction, arm, repetition, settings)
        for fraction in settings.reduced.fractions
        for arm in ARMS
        for repetition in range(settings.reduced.seeds)
        if not (fraction == 1.0 and arm == "soft_everywhere")
    ]
    networks = _train_all(tasks)

    def work(folder: Path) -> dict[str, Any]:
        rows, correct = [], []
        for task, artifact in zip(tasks, networks, strict=True):
            for weights, measured in artifact.metrics["measured"].items():
                rows.append(
                    {
                        "kind": f"{task.arm}_{weights}",
                        "fraction": task.fraction,
                        "repetition": task.repetition,
                        "network": artifact.name,
                        **measured,
                    }
                )
                correct.append(np.load(artifact.path / f"{weights}_correct.npy", allow_pickle=False))
        np.save(folder / "correct.npy", np.stack(correct))
        return {"updates": networks[0].metrics["updates"], "rows": rows}

    return build_artifact(
        run_dir,
        "reduced",
        code=__name__,
        settings={"networks": [task.name for task in tasks]},
        inputs=[laid, *networks],
        work=work,
    )


def _updates(settings: MnistSettings, images: int) -> int:
    """Of every network, when the whole training set has so many images."""
    return max(1, round(settings.reduced.epochs * batches_per_epoch(images, settings.hard.batch_images)))


def _train_all(tasks: Sequence[ReducedDigitTask]) -> list[Artifact]:
    settings, run_dir = tasks[0].settings, tasks[0].run_dir
    count = len(DigitArrays.load(run_dir / DIGITS).rest)

    def amount(task: ReducedDigitTask) -> int:
        images = count if task.arm == "soft_everywhere" else len(draw_part(task, count))
        return _updates(settings, count) * min(settings.hard.batch_images, images)

    names = parallel_map(
        _train,
        tasks,
        description=f"{len(tasks)} networks on parts of the labels",
        unit="images",
        jobs=settings.jobs,
        amount=amount,
        self_reporting=True,
    )
    return [load_artifact(run_dir, name) for name in names]


def draw_part(task: ReducedDigitTask, count: int) -> Tensor:
    """(labelled,) int64, numbers among the `count` training images without dev of those that keep their labels."""
    seed = network_seed(task.settings.seed, f"reduced/part-{task.repetition}")
    return torch.from_numpy(subset_of_frames(count, task.fraction, seed=seed))


def _train(task: ReducedDigitTask) -> str:
    settings = task.settings
    inputs = [load_artifact(task.run_dir, name) for name in (DIGITS, posteriors_name(CHOOSING_TEACHER))]
    return build_artifact(
        task.run_dir,
        task.name,
        code=[__name__, network_class(settings.hard.network.name).__module__],
        settings={
            "seed": settings.seed,
            "fraction": task.fraction,
            "arm": task.arm,
            "repetition": task.repetition,
            "recipe": settings.hard,
            "objective": settings.distil,
            "epochs": settings.reduced.epochs,
            "validations": settings.reduced.validations,
        },
        inputs=inputs,
        work=lambda folder: _work(folder, task, inputs),
    ).name


def _work(folder: Path, task: ReducedDigitTask, inputs: list[Artifact]) -> dict[str, Any]:
    settings, recipe = task.settings, task.settings.hard
    arrays, budget = DigitArrays.load(inputs[0].path), recipe.budget()
    hard_labels = arrays.train_labels[arrays.rest].long()
    part = draw_part(task, len(hard_labels))
    stored = StoredTeacher(PosteriorStore(inputs[1].path, expect={"digits": inputs[0].fingerprint}), [TRAINING_SET])
    teacher = IndexedTeacher(stored, arrays.rest)
    pixels = arrays.train_images[arrays.rest]
    seen = Images(pixels, jitter_pixels=recipe.jitter_pixels)
    everything = Examples(seen, hard_labels, teacher if task.arm != "hard" else None)
    plain = Examples(Images(pixels), hard_labels).select(part)
    followed = plain.select(torch.linspace(0, len(plain) - 1, min(len(plain), _FOLLOWED)).long())
    dev = Examples(Images(arrays.train_images[arrays.dev]), arrays.train_labels[arrays.dev].long())

    def validate(candidate: nn.Module) -> Validation:
        on_dev = measure(candidate, dev, precision=budget.precision)
        on_part = measure(candidate, followed, precision=budget.precision)
        return Validation(on_dev.accuracy, on_dev.cross_entropy, on_part.accuracy)

    updates = _updates(settings, len(hard_labels))
    seed = network_seed(settings.seed, f"reduced/network-{task.repetition}")
    model = new_network(recipe.network, seen, tuple(pixels[0].shape), CLASSES, seed)
    result = fit(
        model,
        examples_of_arm(everything, part, task.arm),
        objective_of_arm(task.arm, settings.distil.hinton()),
        budget,
        seed=seed,
        folder=folder,
        validate=validate,
        advance=advance,
        updates=updates,
        validate_at=measuring_points(updates, settings.reduced.validations),
    )
    measured = {}
    for weights in ("best", "last") if task.arm == "hard" else ("last",):
        if weights == "last":
            model.load_state_dict(result.last_weights)
        inputs_of_test = Images(arrays.test_images)
        everywhere = torch.arange(len(inputs_of_test))
        log_probs = log_posteriors(model, inputs_of_test, everywhere, precision=budget.precision)
        np.save(folder / f"{weights}_correct.npy", (log_probs.argmax(dim=1) == arrays.test_labels).numpy())
        measured[weights] = {
            name: {"frame_accuracy": one.accuracy, "cross_entropy": one.cross_entropy}
            for name, one in (
                ("part", measure(model, plain, precision=budget.precision)),
                ("dev", measure(model, dev, precision=budget.precision)),
            )
        }
    remove_checkpoint(folder)
    assert result.best is not None
    return {"updates": result.updates, "images": len(part), "measured": measured, "best": asdict(result.best)}
