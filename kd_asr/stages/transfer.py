"""Stage `transfer`: perturbed copies of the training set, on which students learn from their teachers.

Hinton, Vinyals and Dean (2015, section 2) train the student on a transfer set, which can be the training set. With
little speech the teachers have memorised that, and their posteriors say hardly more than its labels; on copies that
they have not seen, their posteriors show what they have learnt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact
from kd_asr.stages.copies import copied_training_set, spread_of_copies
from kd_asr.stages.settings import Settings


def transfer(run_dir: Path, settings: Settings) -> Artifact:
    """Write `transfer/frames` and `transfer/alignments`: `distil.copies` copies of every training utterance.

    Without copies, students learn from the training set alone.
    """
    return copied_training_set(
        run_dir, settings, "transfer", decides(settings), copies=settings.distil.copies,
        spread=spread_of_copies(settings), seed=settings.seed, mark="+",
    )  # fmt: skip


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact."""
    distil = settings.distil
    return {
        "seed": settings.seed,
        "distil.copies": distil.copies,
        "distil.copy_warp": distil.copy_warp,
        "distil.copy_rate": distil.copy_rate,
        "distil.copy_curve": distil.copy_curve,
    }
