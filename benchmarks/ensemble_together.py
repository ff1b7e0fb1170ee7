"""Ten members trained together, in batched products on one shared batch, against one after the other; on one thread.

The members are rectified-linear networks of the quick preset's size, without batch normalisation. Trained together they
share the gathering of inputs and labels and have one optimiser for all; apart, each gathers its own.
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.synthetic import random_windows
from benchmarks.training_step import seconds_of
from kd_asr.device import HOST
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.windows import FrameWindows
from kd_asr.networks.dnn import DnnSettings

SUMMARY = "ten members trained together in batched products against one after the other (wanted: 1.3 times faster)"
MEMBERS, UNITS, PDFS, BATCH, UPDATES = 10, 384, 213, 256, 20


def _weights(members: int, sizes: tuple[int, ...]) -> list[Tensor]:
    """For each layer (members, inputs, outputs) and (members, 1, outputs), to be trained."""
    generator = torch.Generator().manual_seed(0)
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers.append(torch.randn(members, inputs, outputs, generator=generator) * (2 / inputs) ** 0.5)
        layers.append(torch.zeros(members, 1, outputs))
    return [layer.requires_grad_() for layer in layers]


def _train(members: int, inputs: FrameWindows, labels: Tensor, order: Tensor, *, bf16: bool) -> None:
    """`UPDATES` updates of so many members at once; one member takes plain products."""
    sizes = (inputs[order[:1]].shape[1], UNITS, UNITS, UNITS, PDFS)
    weights = _weights(members, sizes)
    if members == 1:
        weights = [weight.detach()[0].requires_grad_() for weight in weights]
    optimiser = torch.optim.AdamW(weights, fused=True)
    for batch in torch.split(order, BATCH):
        x, target = inputs[batch], labels[batch]
        with HOST.matrix_precision(bf16=bf16):
            hidden = x if members == 1 else x.expand(members, *x.shape)
            for number in range(0, len(weights), 2):
                weight, bias = weights[number], weights[number + 1]
                hidden = torch.addmm(bias, hidden, weight) if members == 1 else torch.baddbmm(bias, hidden, weight)
                if number < len(weights) - 2:
                    hidden = hidden.relu()
        logits = hidden.float().reshape(-1, PDFS)
        loss = F.cross_entropy(logits, target.repeat(members), reduction="sum") / BATCH
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _one_after_the_other(inputs: FrameWindows, labels: Tensor, orders: list[Tensor], *, bf16: bool) -> None:
    for order in orders:
        _train(1, inputs, labels, order, bf16=bf16)


def measure(*, repeats: int) -> dict[str, Any]:
    """Median ratio of the times."""
    torch.set_num_threads(1)
    bf16 = HOST.uses_bf16("auto")
    with tempfile.TemporaryDirectory() as folder:
        inputs = random_windows(Path(folder) / "frames", 16, 1600, FeatureSettings(), DnnSettings())
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(PDFS, (len(inputs),), generator=generator)
        orders = [torch.randperm(len(inputs), generator=generator)[: BATCH * UPDATES] for _ in range(MEMBERS)]
        ratios = []
        for _ in range(repeats + 1):  # the first one warms up
            apart = seconds_of(partial(_one_after_the_other, inputs, labels, orders, bf16=bf16))
            together = seconds_of(partial(_train, MEMBERS, inputs, labels, orders[0], bf16=bf16))
            ratios.append(apart / together)
    return {
        "arithmetic": "bf16" if bf16 else "fp32",
        "threads": 1,
        "repeats": repeats,
        "members": MEMBERS,
        "times_faster_together": round(statistics.median(ratios[1:]), 3),
        "range": [round(min(ratios[1:]), 3), round(max(ratios[1:]), 3)],
    }
