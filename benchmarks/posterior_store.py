"""The posterior store by the number of classes kept: bytes a frame, frames a second written and read at random."""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.synthetic import random_posterior_store
from benchmarks.training_step import seconds_of
from kd_asr.distillation.teachers.stored import StoredTeacher

SUMMARY = "bytes a frame, writing and random reading by the number of classes kept, beside dense float32"
CLASSES, FRAMES, BATCH, BATCHES = 2000, 40_000, 256, 100


def measure(*, repeats: int) -> dict[str, Any]:
    """Medians for k of 5, 10, 20, 50, and for a matrix of float32 log-posteriors in memory."""
    torch.set_num_threads(1)
    chosen = torch.randperm(FRAMES, generator=torch.Generator().manual_seed(0))[: BATCH * BATCHES]
    order = torch.split(chosen, BATCH)
    results: dict[str, Any] = {"classes": CLASSES, "frames": FRAMES, "batch_frames": BATCH, "repeats": repeats}
    for k in (5, 10, 20, 50):
        written, read = [], []
        with tempfile.TemporaryDirectory() as folder:
            for repeat in range(repeats):
                make = partial(random_posterior_store, Path(folder) / f"{repeat}", FRAMES, CLASSES, k)
                written.append(FRAMES / seconds_of(make))
                store = random_posterior_store(Path(folder) / f"{repeat}-read", FRAMES, CLASSES, k)
                teacher = StoredTeacher(store, ["all"])
                read.append(BATCH * BATCHES / seconds_of(partial(_read, teacher, order)))
        results[f"k = {k}"] = {
            "bytes_a_frame": store.bytes_per_frame,
            "frames_a_second_made_and_written": round(statistics.median(written)),
            "frames_a_second_read_at_random": round(statistics.median(read)),
        }
    dense = torch.randn(FRAMES, CLASSES)
    read = [BATCH * BATCHES / seconds_of(partial(_gather, dense, order)) for _ in range(repeats)]
    results["dense"] = {
        "bytes_a_frame": 4 * CLASSES,
        "frames_a_second_read_at_random": round(statistics.median(read)),
    }
    return results


def _read(teacher: StoredTeacher, order: tuple[torch.Tensor, ...]) -> None:
    for batch in order:
        teacher(batch)


def _gather(dense: torch.Tensor, order: tuple[torch.Tensor, ...]) -> None:
    for batch in order:
        dense[batch]
