"""The training of MNIST's 1200-unit teacher beside the peak of a matrix product, both on one thread in the same run.

A step is all that `fit` does: gathering and jittering 512 or more images, dropout, forward, backward, AdamW, max-norm.
Its floating-point operations are those of its matrix products alone, so the rest counts as loss.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kd_asr.distillation.objectives import HardObjective
from kd_asr.features.images import Images
from kd_asr.mnist_config import TeacherSettings
from kd_asr.models.dnn import seeded_dnn
from kd_asr.models.inference import uses_bf16
from kd_asr.training.constraints import limit_incoming_norms
from kd_asr.training.examples import Examples
from kd_asr.training.fit import fit

SUMMARY = "share of the peak of a matrix product that a training step of MNIST's teacher reaches (wanted: 0.6 or more)"
UPDATES = 12


def step_operations(pixels: int, units: int, classes: int) -> int:
    """Floating-point operations per image of the matrix products: forward, weights' gradients, and inputs' gradients.

    The first layer's inputs need no gradient.
    """
    first, second, last = pixels * units, units * units, units * classes
    return 2 * (3 * (first + second + last) - first)


def gemm_speed(dtype: torch.dtype, size: int = 2048) -> float:
    """Operations a second of one product of two square matrices, the fastest of three."""
    left, right = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def train_speed(batch: int, recipe: TeacherSettings, examples: Examples, seed: int) -> float:
    """Images a second of `fit`, without the start."""
    settings = TeacherSettings(**{**recipe.__dict__, "epochs": 1, "batch_images": batch})
    model = seeded_dnn(784, 10, settings.network(), seed)
    limit = partial(limit_incoming_norms, max_norm=settings.max_norm)
    with tempfile.TemporaryDirectory() as folder:
        result = fit(
            model,
            examples,
            HardObjective(),
            settings.budget(),
            seed=seed,
            folder=Path(folder),
            validate=None,
            after_update=limit,
        )
    return result.examples_per_second


def measure(*, repeats: int) -> dict[str, Any]:
    """Median ratio of step and peak for batches of 512 and 1024 images, and what it is made of."""
    torch.set_num_threads(1)
    recipe = TeacherSettings()
    bf16 = uses_bf16("auto")
    dtype = torch.bfloat16 if bf16 else torch.float32
    operations = step_operations(784, recipe.hidden_units, 10)
    results: dict[str, Any] = {"arithmetic": "bf16" if bf16 else "fp32", "threads": 1, "repeats": repeats}
    for batch in (512, 1024):
        count = batch * UPDATES
        pixels = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)
        examples = Examples(Images(pixels, jitter_pixels=recipe.jitter_pixels), torch.randint(0, 10, (count,)))
        peaks, speeds = [], []
        for repeat in range(repeats):
            # In turns, so that whatever else the machine does disturbs both alike.
            peaks.append(gemm_speed(dtype))
            speeds.append(train_speed(batch, recipe, examples, repeat))
        ratios = [operations * speed / peak for speed, peak in zip(speeds, peaks, strict=True)]
        results[f"batch of {batch}"] = {
            "share_of_peak": round(statistics.median(ratios), 3),
            "range": [round(min(ratios), 3), round(max(ratios), 3)],
            "images_per_second": round(statistics.median(speeds)),
            "gemm_gigaflops_per_second": round(statistics.median(peaks) / 1e9, 1),
        }
    return results
