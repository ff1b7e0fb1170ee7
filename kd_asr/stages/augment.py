"""Stage `augment`: copies of the training set at other rates of speech, with labels, for baseline and teachers.

Speed perturbation (Ko and others, Interspeech 2015) on finished frames: the rate here, the vocal tract in every batch.
"""

from __future__ import annotations

from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.features.perturbation import Spread
from kd_asr.jobs.job import network_seed
from kd_asr.stages.copies import copied_training_set
from kd_asr.stages.settings import Settings


def augment(run_dir: Path, settings: Settings) -> Artifact:
    """Write `augment/frames` and `augment/alignments`: `augment.copies` copies of every training utterance."""
    spread = Spread(warp=0.0, rate=settings.augment.copy_rate, curve=0.0)
    return copied_training_set(
        run_dir,
        settings,
        "augment",
        copies=settings.augment.copies,
        spread=spread,
        seed=network_seed(settings.seed, "augment"),  # different from the students' copies
        mark="*",
    )
