"""Training steps beside the peak of a matrix product, both on one thread in the same run and the same arithmetic.

A step is all that `fit` does: gathering and jittering inputs, forward, loss, backward, AdamW, constraints, history.
Its floating-point operations are those of its matrix products alone, so the rest counts as loss.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.synthetic import random_windows
from kd_asr.device import HOST
from kd_asr.distillation.objectives import HARD, objective_of
from kd_asr.experiments.mnist.settings import TeacherSettings
from kd_asr.features.images import Images
from kd_asr.features.settings import FeatureSettings
from kd_asr.networks.base import Network, seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.registry import named
from kd_asr.training.constraints import limit_incoming_norms
from kd_asr.training.examples import Examples
from kd_asr.training.fit import fit
from kd_asr.training.settings import TrainSettings

SUMMARY = (
    "share of the peak of a matrix product that a training step reaches: MNIST's teacher (wanted: 0.6 or more), "
    "acoustic models of 512 (0.6), 1024 and 2560 units (0.8)"
)
PDFS, UTTERANCES, FRAMES = 2000, 16, 1600
UPDATES = 12


@dataclass(frozen=True)
class _Kind:
    """A network and what it is trained on."""

    name: str
    batch: int
    sizes: tuple[int, ...]  # of inputs, hidden layers, outputs
    build: Callable[[int], Network]  # from a seed
    examples: Examples
    budget: TrainSettings
    after_update: Callable[[nn.Module], None]


def step_operations(sizes: Sequence[int]) -> int:
    """Floating-point operations per example of a network's matrix products: forward, gradients of weights and inputs.

    Args:
        sizes: of the inputs, each hidden layer, and the outputs. The first layer's inputs need no gradient.
    """
    products = [inputs * outputs for inputs, outputs in pairwise(sizes)]
    return 2 * (3 * sum(products) - products[0])


def gemm_speed(dtype: torch.dtype, size: int = 2048) -> float:
    """Operations a second of one product of two square matrices, the fastest of three."""
    left, right = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2 * size**3 / min(seconds_of(partial(torch.mm, left, right)) for _ in range(3))


def products_speed(dtype: torch.dtype, sizes: Sequence[int], batch: int) -> float:
    """Examples a second of a step's matrix products alone, in their shapes, the fastest of three."""
    seconds = 0.0
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        x, weight = torch.randn(batch, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
        gradient = torch.randn(batch, outputs).to(dtype)
        products = [partial(torch.mm, x, weight.T), partial(torch.mm, gradient.T, x)]
        if number > 0:
            products.append(partial(torch.mm, gradient, weight))
        seconds += sum(min(seconds_of(product) for _ in range(3)) for product in products)
    return batch / seconds


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def train_speed(kind: _Kind, seed: int) -> float:
    """Examples a second of `fit`, without the start."""
    with tempfile.TemporaryDirectory() as folder:
        result = fit(
            kind.build(seed),
            kind.examples,
            objective_of(HARD),
            kind.budget,
            seed=seed,
            device=HOST,
            folder=Path(folder),
            validate=None,
            after_update=kind.after_update,
            updates=UPDATES,
        )
    return result.examples_per_second


def _digits(batch: int) -> _Kind:
    recipe = TeacherSettings(batch_images=batch)
    count, units = batch * UPDATES, recipe.network.settings.hidden_units
    pixels = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)
    return _Kind(
        "MNIST teacher",
        batch,
        (784, units, units, 10),
        lambda seed: seeded(recipe.network, (28, 28), 10, seed),
        Examples(Images(pixels, jitter_pixels=recipe.jitter_pixels), torch.randint(0, 10, (count,))),
        recipe.budget(),
        partial(limit_incoming_norms, max_norm=recipe.max_norm),
    )


def _acoustic(folder: Path, units: int, batch: int) -> _Kind:
    network = DnnSettings(hidden_units=units, dropout=0.0)
    inputs = random_windows(folder, UTTERANCES, FRAMES, FeatureSettings(), network)
    dimension = inputs[torch.tensor([0])].shape[1]
    return _Kind(
        f"acoustic, {units} units",
        batch,
        (dimension, *[units] * network.hidden_layers, PDFS),
        lambda seed: seeded(named("network", "dnn", network), (dimension,), PDFS, seed),
        Examples(inputs, torch.randint(0, PDFS, (len(inputs),))),
        replace(TrainSettings(), batch_frames=batch),
        lambda model: None,
    )


def measure(*, repeats: int) -> dict[str, Any]:
    """For each network the median share of the peak, and of the speed of its products alone."""
    torch.set_num_threads(1)
    bf16 = HOST.uses_bf16("auto")
    dtype = torch.bfloat16 if bf16 else torch.float32
    results: dict[str, Any] = {"arithmetic": "bf16" if bf16 else "fp32", "threads": 1, "repeats": repeats}
    with tempfile.TemporaryDirectory() as folder:
        kinds = [_digits(512), _digits(1024)]
        # AdamW reads and writes 28 bytes a weight and update, whatever the batch: wide networks want larger ones.
        shapes = ((512, 1024), (1024, 1024), (2560, 1024), (2560, 2048))
        kinds += [_acoustic(Path(folder) / f"{units}-{batch}", units, batch) for units, batch in shapes]
        for kind in kinds:
            operations = step_operations(kind.sizes)
            peaks, floors, speeds = [], [], []
            for repeat in range(repeats):
                # In turns, so that whatever else the machine does disturbs all alike.
                peaks.append(gemm_speed(dtype))
                floors.append(products_speed(dtype, kind.sizes, kind.batch))
                speeds.append(train_speed(kind, repeat))
            ratios = [operations * speed / peak for speed, peak in zip(speeds, peaks, strict=True)]
            of_products = [speed / floor for speed, floor in zip(speeds, floors, strict=True)]
            results[f"{kind.name}, batch of {kind.batch}"] = {
                "share_of_peak": round(statistics.median(ratios), 3),
                "range": [round(min(ratios), 3), round(max(ratios), 3)],
                "share_of_products_alone": round(statistics.median(of_products), 3),
                "examples_per_second": round(statistics.median(speeds)),
                "gemm_gigaflops_per_second": round(statistics.median(peaks) / 1e9, 1),
            }
    return results
