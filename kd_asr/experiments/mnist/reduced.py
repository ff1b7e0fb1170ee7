"""Experiment `reduced` of the MNIST recipe: soft targets as regularisers when few labels are left."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.device import HOST, Device, find_device
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import CHOOSING_TEACHER, digit_job, network_as_teacher, train, train_teachers
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.experiments.reduced_data.arms import ARMS, Arm, arm_groups, losses_of_arm, others_of_arm, weights_of
from kd_asr.features.images import Images
from kd_asr.jobs.job import Job, as_name, network_seed
from kd_asr.jobs.systems import NetworkRef
from kd_asr.networks.files import load_network
from kd_asr.networks.inference import log_posteriors
from kd_asr.parallel import parallel_map
from kd_asr.tasks.digits import DIGITS, DigitArrays, DigitData
from kd_asr.tasks.labelled_subset import LabelledSubset
from kd_asr.training.examples import Examples
from kd_asr.training.measure import measure
from kd_asr.training.settings import TrainSettings


@dataclass(frozen=True)
class ReducedDigits:
    """One network of the experiment: way of learning, share of the labels, and repetition."""

    arm: Arm
    fraction: float
    repetition: int
    job: Job


def reduced(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train the networks; `reduced/correct.npy` says which test images each got right, (systems, images) bool.

    Dev is outside all parts and used for early stopping. The teacher has learnt from all other training images.
    """
    source = digits(run_dir, settings)
    train_teachers(run_dir, settings, [CHOOSING_TEACHER])
    planned = reduced_jobs(settings)
    networks = train(run_dir, settings, [one.job for one in planned], f"{len(planned)} networks on parts of the labels")

    device = find_device(settings.device)

    def work(folder: Path) -> dict[str, Any]:
        systems = [(one, weights) for one in planned for weights in weights_of(one.arm)]
        tasks = [
            _ScoringTask(run_dir, one.job, NetworkRef(one.job.name, network), device) for one, (_, network) in systems
        ]
        jobs = device.processes(settings.jobs)
        measured = parallel_map(_measure, tasks, description="measure", unit="networks", jobs=jobs)
        rows, correct = [], []
        for (one, (weights, _)), (found, right) in zip(systems, measured, strict=True):
            rows.append(
                {
                    "kind": f"{one.arm}_{weights}",
                    "fraction": one.fraction,
                    "repetition": one.repetition,
                    "network": one.job.name,
                    **found,
                }
            )
            correct.append(right)
        np.save(folder / "correct.npy", np.stack(correct))
        groups = [asdict(group) for group in arm_groups("images")]
        return {"updates": networks[0].metrics["updates"], "groups": groups, "rows": rows}

    return build_artifact(
        run_dir,
        "reduced",
        code=__name__,
        settings={"networks": [one.job.name for one in planned]},
        inputs=[source, *networks],
        work=work,
    )


def reduced_jobs(settings: MnistSettings) -> list[ReducedDigits]:
    """All networks of the experiment; with all labels there are no other examples for soft targets."""
    return [
        ReducedDigits(arm, fraction, repetition, _job(settings, fraction, arm, repetition))
        for fraction in settings.reduced.fractions
        for arm in ARMS
        for repetition in range(settings.reduced.seeds)
        if not (fraction == 1.0 and arm == "soft_everywhere")
    ]


def _job(settings: MnistSettings, fraction: float, arm: Arm, repetition: int) -> Job:
    seed = network_seed(settings.seed, f"reduced/part-{repetition}")
    subset = LabelledSubset(fraction, seed, others=others_of_arm(arm))
    plain = digit_job(
        f"reduced_networks/{as_name(fraction)}-{arm}-{repetition}",
        settings.hard,
        seed=network_seed(settings.seed, f"reduced/network-{repetition}"),
        images="all but dev",
        teacher=None if arm == "hard" else network_as_teacher(settings, CHOOSING_TEACHER),
        losses=losses_of_arm(arm, settings.reduced.losses),
    )
    return replace(
        plain,
        data=DigitData("all but dev", settings.hard.jitter_pixels, subset=subset),
        keep="both" if arm == "hard" else "last",
        max_norm=0.0,
        budget=replace(plain.budget, epochs=TrainSettings().epochs),  # not in use, and so not in the fingerprint
        epochs=settings.reduced.epochs,
        validations=settings.reduced.validations,
    )


@dataclass(frozen=True)
class _ScoringTask:
    """Weights of a job's network, to be evaluated."""

    run_dir: Path
    job: Job
    weights: NetworkRef
    device: Device


def _measure(task: _ScoringTask) -> tuple[dict[str, Any], np.ndarray]:
    """Accuracy and cross-entropy on the labelled subset and on dev; (images,) bool, which test images are right."""
    arrays, data = DigitArrays.load(task.run_dir / DIGITS), task.job.data
    assert isinstance(data, DigitData)
    model = task.device.put(load_network(task.run_dir / task.weights.artifact / task.weights.file))
    precision = task.job.budget.precision
    numbers = data.numbers(arrays)
    subset = numbers[data.labelled(len(numbers))]
    plain = Examples(Images(arrays.train_images[subset]), arrays.train_labels[subset].long())
    inputs = Images(arrays.test_images)
    log_probs = HOST.put(log_posteriors(model, inputs, torch.arange(len(inputs)), precision=precision))
    found = {
        name: {"frame_accuracy": one.accuracy, "cross_entropy": one.cross_entropy}
        for name, one in (
            ("part", measure(model, plain, precision=precision)),
            ("dev", measure(model, arrays.dev_examples(), precision=precision)),
        )
    }
    return found, (log_probs.argmax(dim=1) == arrays.test_labels).numpy()
