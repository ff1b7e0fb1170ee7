"""What soft targets cost: a student of the quick preset on hard labels, from the posterior store, from live teachers.

Frames, labels and posteriors are random: speed does not depend on what they say. One thread, the whole of `fit`.

Ten teachers of the student's own size cost ten forward passes beside its three, so by operations alone the store is 4.3
times faster at most (more for the first layer, whose inputs need no gradient). A smaller student gains more from it.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.synthetic import random_posterior_store, random_windows
from kd_asr.device import HOST
from kd_asr.distillation.objectives import HARD, Objective, objective_of
from kd_asr.distillation.teachers.base import Teacher
from kd_asr.distillation.teachers.live import LiveTeacher
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.features.vocal_tract import WarpedWindows
from kd_asr.networks.base import new_network, seeded, view_of
from kd_asr.presets import find_preset
from kd_asr.stages.settings import Settings, parse_settings
from kd_asr.training.examples import Examples
from kd_asr.training.fit import fit
from kd_asr.training.settings import TrainSettings

SUMMARY = (
    "an epoch from the posterior store against one on hard labels (wanted: 1.10 or less of its time) and against one "
    "that asks ten live teachers (wanted: 5 times faster or more)"
)
HARD_LABELS, STORED, LIVE = "hard labels", "from the store", "ten live teachers"
CLASSES, MEMBERS, UTTERANCES, FRAMES = 213, 10, 32, 1600


def measure(*, repeats: int) -> dict[str, Any]:
    """Medians over repeats of the ratios; the three kinds take turns, so that disturbances meet all alike."""
    torch.set_num_threads(1)
    settings = parse_settings([], find_preset("quick"))
    with tempfile.TemporaryDirectory() as folder:
        examples = _examples(Path(folder), settings)
        network = settings.network
        narrow = replace(network.settings, hidden_units=network.settings.hidden_units // 2)
        half = replace(settings, network=replace(network, settings=narrow))
        kinds = {name: (part, settings) for name, part in examples.items()}
        kinds |= {f"{name}, half the units": (examples[name], half) for name in (STORED, LIVE)}
        speeds: dict[str, list[float]] = {name: [] for name in kinds}
        for repeat in range(repeats):
            for name, (part, chosen) in kinds.items():
                speeds[name].append(_speed(part, chosen, repeat, Path(folder) / f"{name}-{repeat}"))

    def times_faster(one: str, other: str) -> dict[str, float]:
        return _ratio([fast / slow for fast, slow in zip(speeds[one], speeds[other], strict=True)])

    return {
        "frames": UTTERANCES * FRAMES,
        "batch_frames": settings.train.batch_frames,
        "repeats": repeats,
        "store_over_hard_labels_time": times_faster(HARD_LABELS, STORED),
        "store_over_live_teachers_speed": times_faster(STORED, LIVE),
        "for_a_student_of_half_the_units": times_faster(f"{STORED}, half the units", f"{LIVE}, half the units"),
        "frames_per_second": {name: round(statistics.median(found)) for name, found in speeds.items()},
    }


def _ratio(found: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(found), 3), "least": round(min(found), 3), "most": round(max(found), 3)}


def _speed(examples: Examples, settings: Settings, seed: int, folder: Path) -> float:
    """Frames a second of one epoch."""
    folder.mkdir()
    model = new_network(settings.network, examples.inputs, _input_shape(settings), CLASSES, seed)
    objective: Objective = objective_of(HARD)
    if examples.teacher is not None:
        objective = objective_of(settings.methods[0].settings.losses)
    budget: TrainSettings = replace(settings.train, epochs=1)
    result = fit(model, examples, objective, budget, seed=seed, device=HOST, folder=folder, validate=None)
    return result.examples_per_second


def _input_shape(settings: Settings) -> tuple[int, ...]:
    return view_of(settings.network).input_shape(settings.features.num_mel_bins)


def _examples(folder: Path, settings: Settings) -> dict[str, Examples]:
    """The same frames and labels for all kinds, with the teachers."""
    inputs = random_windows(folder / "frames", UTTERANCES, FRAMES, settings.features, settings.network.settings)
    warped = WarpedWindows(inputs, settings.augment.vocal_tract_warp, settings.features)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (len(inputs),), generator=generator)
    members = [seeded(settings.network, _input_shape(settings), CLASSES, seed) for seed in range(MEMBERS)]
    posteriors = random_posterior_store(folder / "posteriors", len(inputs), CLASSES, settings.ensemble.top_k)
    stored = StoredTeacher(posteriors, ["all"])
    teachers: dict[str, Teacher | None] = {HARD_LABELS: None, STORED: stored, LIVE: LiveTeacher(members)}
    return {name: Examples(warped, labels, teacher) for name, teacher in teachers.items()}
