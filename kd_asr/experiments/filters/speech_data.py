"""The speech of the experiment: what a network learns from, and no dev, since nothing is chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from kd_asr.jobs.job import Job, Material
from kd_asr.tasks.speech import SpeechData


@dataclass(frozen=True)
class SpeechWithoutDev(SpeechData):
    """`SpeechData` whose networks are not measured on dev."""

    def open(self, run_dir: Path, job: Job) -> Material:
        """Training data of the job."""
        return replace(super().open(run_dir, job), dev=None)
