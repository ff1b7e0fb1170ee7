"""Distilling from stored targets, ours beside TextBrewer's loop with cached teacher logits.

The same network, frames, batch size, loss (soft and hard cross-entropy at temperature 1) and optimiser, one thread. The
peer runs in a Python of its own, which has it installed and is named by $PEERS_PYTHON:

    python -m venv peers && peers/bin/pip install torch textbrewer tensorboard
    PEERS_PYTHON=peers/bin/python python -m benchmarks peers

TextBrewer keeps batches and dense logits in memory and shuffles whole batches; ours gathers windows and top-k
posteriors from disk and shuffles frames. torchdistill's current release (1.1.5) keeps no teacher outputs, so it has no
such loop.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.synthetic import random_posterior_store, random_windows
from kd_asr.device import HOST
from kd_asr.distillation.objectives import HintonObjective
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.errors import UserError
from kd_asr.features.settings import FeatureSettings
from kd_asr.networks.base import seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.registry import named
from kd_asr.training.examples import Examples
from kd_asr.training.fit import fit
from kd_asr.training.settings import TrainSettings

SUMMARY = "distilling from stored targets against TextBrewer with cached logits (wanted: 2 times faster; $PEERS_PYTHON)"
CLASSES, UTTERANCES, FRAMES, BATCH, TOP_K = 213, 32, 1600, 256, 20
NETWORK = DnnSettings(left_context=10, right_context=10, hidden_layers=3, hidden_units=384, dropout=0.0)


def measure(*, repeats: int) -> dict[str, Any]:
    """Medians of the frames a second of an epoch, and their ratios."""
    python = os.environ.get("PEERS_PYTHON", "")
    if not python:
        raise UserError("PEERS_PYTHON: name the python of an environment that has torch and textbrewer")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = random_windows(folder / "frames", UTTERANCES, FRAMES, FeatureSettings(), NETWORK)
        labels = torch.randint(CLASSES, (len(inputs),), generator=torch.Generator().manual_seed(0))
        store = random_posterior_store(folder / "posteriors", len(inputs), CLASSES, TOP_K)
        examples = Examples(inputs, labels, StoredTeacher(store, ["all"]))
        speeds: dict[str, list[float]] = {"ours": [], "ours, fp32": [], "textbrewer": []}
        for repeat in range(repeats):
            speeds["ours"].append(_ours(examples, "auto", folder / f"auto-{repeat}"))
            speeds["ours, fp32"].append(_ours(examples, "fp32", folder / f"fp32-{repeat}"))
            speeds["textbrewer"].append(_textbrewer(python))
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return {
        "frames": len(inputs),
        "batch_frames": BATCH,
        "repeats": repeats,
        "frames_per_second": {name: round(speed) for name, speed in medians.items()},
        "ours_over_textbrewer": round(medians["ours"] / medians["textbrewer"], 2),
        "ours_in_fp32_over_textbrewer": round(medians["ours, fp32"] / medians["textbrewer"], 2),
    }


def _ours(examples: Examples, precision: Literal["auto", "fp32"], folder: Path) -> float:
    folder.mkdir()
    model = seeded(named("network", "dnn", NETWORK), (21, 40), CLASSES, seed=1)
    budget = TrainSettings(epochs=2, batch_frames=BATCH, precision=precision)
    objective = HintonObjective(1.0, 1.0, 0.5)
    result = fit(model, examples, objective, budget, seed=1, device=HOST, folder=folder, validate=None)
    return result.examples_per_second


def _textbrewer(python: str) -> float:
    """Frames a second of its second epoch on, as it says itself."""
    script = Path(__file__).with_name("textbrewer_loop.py")
    sizes = [str(number) for number in (UTTERANCES * FRAMES, 21 * 40, CLASSES, BATCH)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, str(script), *sizes], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise UserError(f"{python} {script} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])
