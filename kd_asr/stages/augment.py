"""Stage `augment`: copies of the training set at other rates of speech, with labels, for baseline and teachers.

Speed perturbation (Ko and others, Interspeech 2015) on finished frames: the rate here, the vocal tract in every batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact
from kd_asr.features.perturbation import Spread
from kd_asr.jobs.job import network_seed
from kd_asr.stages.copies import copied_training_set
from kd_asr.stages.settings import Settings


def augment(run_dir: Path, settings: Settings) -> Artifact:
    """Write `augment/frames` and `augment/alignments`: `augment.copies` copies of every training utterance."""
    rate = settings.augment.copy_rate
    return copied_training_set(
        run_dir, settings, "augment", decides(settings), copies=settings.augment.copies,
        spread=Spread(warp=0.0, rate=rate, curve=0.0), seed=_seed(settings), mark="*",
    )  # fmt: skip


def _seed(settings: Settings) -> int:
    """Another one than that of the students' copies."""
    return network_seed(settings.seed, "augment")


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact."""
    return {
        "seed": _seed(settings),
        "augment.copies": settings.augment.copies,
        "augment.copy_rate": settings.augment.copy_rate,
    }
