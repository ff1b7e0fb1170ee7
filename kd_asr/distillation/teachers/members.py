"""The members of an ensemble one by one, whose posteriors were computed before and are read from stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from kd_asr.device import Device
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.posterior_store import PosteriorStore, decode_bits
from kd_asr.distillation.signal import Signal, complete_targets
from kd_asr.distillation.teachers.base import Lesson, Teacher
from kd_asr.features.spans import Spans
from kd_asr.networks.ensemble import average_log_posteriors
from kd_asr.registry import teacher


@dataclass(frozen=True)
class MembersSettings:
    """Posteriors of every member for the unvaried inputs, computed once, of which each store keeps the top k."""


@teacher("members")
class MembersTeacher(Teacher):
    """Teacher that reads the posteriors of each member from a store of its own.

    A class that a store has not kept has the share of the rest that `SoftTargets` gives it.
    """

    Settings = MembersSettings
    gives = frozenset({"posteriors", "members"})
    source = "stores"

    def __init__(
        self,
        stores: Sequence[PosteriorStore],
        utterance_ids: Sequence[str],
        average: Literal["arithmetic", "geometric"] = "arithmetic",
    ) -> None:
        """Number the frames of `utterance_ids`, one utterance after the other.

        Raises:
            UserError: an utterance is not in one of the stores.
        """
        self._stores = list(stores)
        self._frames = [Spans([store.rows(name) for name in utterance_ids]) for store in stores]
        self._tail_priors = [store.tail_prior for store in stores]
        self._average: Literal["arithmetic", "geometric"] = average

    @classmethod
    def open(cls, lesson: Lesson, settings: MembersSettings) -> MembersTeacher:
        """A teacher on the lesson's stores.

        Raises:
            UserError: a store was made with something else, or lacks an utterance.
        """
        stores = [PosteriorStore(path, expect=lesson.expect) for path in lesson.paths]
        return cls(stores, lesson.utterance_ids, lesson.average)

    def put(self, device: Device) -> None:
        """Move what the rests are shared by; the posteriors come with the batches."""
        self._tail_priors = device.put(self._tail_priors)

    def read(self, numbers: Tensor) -> Signal:
        """The stores' bits, a few for each label: posteriors of all classes are computed batch by batch."""
        pairs = zip(self._stores, self._frames, strict=True)
        return Signal(members=tuple(store.bits(frames.rows(numbers)) for store, frames in pairs))

    def answer(self, batch: Batch) -> Signal:
        """Each member's log-posteriors, and the mean of the members as complete soft targets."""
        pairs = zip(batch.signal.members, self._tail_priors, strict=True)
        members = tuple(decode_bits(bits, prior).dense_log_probs(1.0) for bits, prior in pairs)
        return Signal(complete_targets(average_log_posteriors(members, self._average)), members)
