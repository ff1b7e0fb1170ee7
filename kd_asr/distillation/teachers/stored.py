"""A teacher whose posteriors were computed before and are read from a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.signal import SoftTargets
from kd_asr.features.spans import Spans
from kd_asr.registry import teacher


@dataclass(frozen=True)
class StoredSettings:
    """Posteriors read from a store."""


@teacher("stored")
class StoredTeacher:
    """Teacher that reads posteriors from a store."""

    Settings = StoredSettings
    gives = frozenset({"posteriors"})
    per_example = True

    def __init__(
        self, store: PosteriorStore, utterance_ids: Sequence[str], settings: StoredSettings | None = None
    ) -> None:
        """Number the frames of `utterance_ids`, one utterance after the other, as examples.

        Raises:
            UserError: an utterance is not in the store.
        """
        self._store = store
        self._frames = Spans([store.rows(name) for name in utterance_ids])

    def __call__(self, examples: Tensor) -> SoftTargets:
        """Soft targets of (batch,) int64 example numbers."""
        return self._store.targets(self._frames.rows(examples))
