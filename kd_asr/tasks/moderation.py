"""What a facilitator learns from: data that are new to its teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kd_asr.jobs.job import Data, Job, Material


@dataclass(frozen=True)
class ModerationData:
    """Data with their labels, for a network whose outputs are no classes: one for each teacher, and trust in them.

    Attributes:
        inner: The data.
        teachers: Number of teachers.
    """

    inner: Data
    teachers: int

    def artifacts(self) -> Sequence[str]:
        """Names of the input artifacts."""
        return self.inner.artifacts()

    def count(self, run_dir: Path) -> int:
        """Number of labels in an epoch."""
        return self.inner.count(run_dir)

    def open(self, run_dir: Path, job: Job) -> Material:
        """Training data of the job. What its outputs are, accuracy on dev does not measure."""
        material = self.inner.open(run_dir, job)
        return replace(material, num_classes=self.teachers + 1, dev=None, followed=None)
