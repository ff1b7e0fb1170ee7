"""A teacher whose posteriors were computed before and are read from a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.signal import Signal
from kd_asr.distillation.teachers.base import Lesson, Teacher
from kd_asr.features.spans import Spans
from kd_asr.registry import teacher


@dataclass(frozen=True)
class StoredSettings:
    """Posteriors of the unvaried inputs, computed once, of which the store keeps the top k."""


@teacher("stored")
class StoredTeacher(Teacher):
    """Teacher that reads posteriors from a store."""

    Settings = StoredSettings
    gives = frozenset({"posteriors"})
    source = "store"

    def __init__(self, store: PosteriorStore, utterance_ids: Sequence[str]) -> None:
        """Number the frames of `utterance_ids`, one utterance after the other.

        Raises:
            UserError: an utterance is not in the store.
        """
        self._store = store
        self._frames = Spans([store.rows(name) for name in utterance_ids])

    @classmethod
    def open(cls, lesson: Lesson, settings: StoredSettings) -> StoredTeacher:
        """A teacher on the lesson's store.

        Raises:
            UserError: the store was made with something else, or lacks an utterance.
        """
        return cls(PosteriorStore(lesson.paths[0], expect=lesson.expect), lesson.utterance_ids)

    def read(self, numbers: Tensor) -> Signal:
        """Soft targets of (labels,) int64 frame numbers."""
        return Signal(self._store.targets(self._frames.rows(numbers)))
