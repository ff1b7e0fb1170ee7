"""The interface of teachers.

A teacher is one file in this folder: a class with `@teacher("name")`, derived from `Teacher`, and a frozen dataclass of
its settings. The contract tests, `tests/distillation/test_every_teacher.py`, find it by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from kd_asr.device import Device, Movable, Precision
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal


@dataclass(frozen=True)
class Lesson:
    """What a teacher is opened with.

    Attributes:
        paths: Its posterior stores, or the files of its networks.
        utterance_ids: Utterances that it is asked about; their frames, one utterance after the other, have the numbers
            that `Teacher.read` is given.
        expect: Fingerprints that a posterior store must have been made with.
        header: Description of the inputs that its networks must have been trained on; empty: any.
        average: Mean of its networks' posteriors.
        precision: Arithmetic of its networks' matrix products.
        taps: Middle layers of its first network that losses need.
        frames: Number of frames of each utterance.
        num_classes: Number of outputs of the students.
        labelled: So many of the utterances, the first, have hard labels.
    """

    paths: Sequence[Path]
    utterance_ids: Sequence[str]
    expect: Mapping[str, str] = field(default_factory=dict)
    header: Mapping[str, object] = field(default_factory=dict)
    average: Literal["arithmetic", "geometric"] = "arithmetic"
    precision: Precision = "auto"
    taps: Sequence[str] = ()
    frames: Sequence[int] = ()
    num_classes: int = 0
    labelled: int = 0


class Teacher(Movable):
    """Source of soft targets. A teacher implements `read`, `answer` or both.

    Attributes:
        Settings: Frozen dataclass of the settings.
        gives: Parts of the signal that losses may need: `posteriors`, `members`, `taps`.
        source: What a run provides it with: the posterior store of the ensemble, those of its members one by one, the
            ensemble's networks, or nothing.
    """

    Settings: ClassVar[type[Any]]
    gives: ClassVar[frozenset[str]]
    source: ClassVar[Literal["store", "stores", "networks", "nothing"]]

    @classmethod
    def open(cls, lesson: Lesson, settings: Any) -> Teacher:
        """The teacher for a training.

        Raises:
            UserError: it does not fit the lesson.
        """
        raise NotImplementedError

    @classmethod
    def settled(cls, settings: Any) -> Any:
        """The settings as a run folder keeps them: they hold from any working directory, and tell what files contain.

        Raises:
            UserError: the teacher cannot work with them.
        """
        return settings

    @property
    def taps(self) -> Mapping[str, int]:
        """Widths of the middle layers that it can give, by name."""
        return {}

    def put(self, device: Device) -> None:
        """Move what `answer` computes with to a device; once, before the first batch."""

    def read(self, numbers: Tensor) -> Signal:
        """Signal known before the inputs are, on the host; asked about several batches at once.

        Args:
            numbers: (labels,) int64 numbers of the labels among all that the teacher was opened for.
        """
        return Signal()

    def answer(self, batch: Batch) -> Signal:
        """Signal for a batch on the device, whose `signal` is what `read` returned."""
        return batch.signal
