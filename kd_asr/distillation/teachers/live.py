"""An ensemble that is evaluated while the student learns."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from kd_asr.device import HOST, Device, Precision
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal, complete_targets
from kd_asr.distillation.teachers.base import Lesson, Teacher
from kd_asr.networks.base import Network, outputs_of
from kd_asr.networks.ensemble import combined_log_posteriors
from kd_asr.networks.files import load_network
from kd_asr.registry import teacher


@dataclass(frozen=True)
class LiveSettings:
    """The ensemble itself, which sees each batch as the student does, varied and perturbed, and keeps all classes."""


@teacher("live")
class LiveTeacher(Teacher):
    """Teacher that computes the posteriors of its members for the inputs of every batch."""

    Settings = LiveSettings
    gives = frozenset({"posteriors", "members", "taps"})
    source = "networks"

    def __init__(
        self,
        members: Sequence[nn.Module],
        *,
        average: Literal["arithmetic", "geometric"] = "arithmetic",
        precision: Precision = "auto",
        taps: Sequence[str] = (),
    ) -> None:
        """Take the members as they are now: of those that can still be trained, copies.

        Args:
            members: networks with the same view of the data as the student.
            average: mean of their posteriors.
            precision: arithmetic of the matrix products.
            taps: middle layers of the first member to give.
        """
        # A student may be its own teacher: it is neither frozen here, nor is the teacher changed by its training.
        own = [copy.deepcopy(one) if any(p.requires_grad for p in one.parameters()) else one for one in members]
        self._members = [member.eval().requires_grad_(False) for member in own]
        for member in self._members:
            if isinstance(member, Network):
                member.only_labelled = True
        self._average: Literal["arithmetic", "geometric"] = average
        self._precision: Precision = precision
        self._taps = tuple(taps)
        self._device = HOST

    @classmethod
    def open(cls, lesson: Lesson, settings: LiveSettings) -> LiveTeacher:
        """The ensemble of the lesson's networks.

        Raises:
            UserError: a network was trained on other inputs.
        """
        networks = [load_network(path, lesson.header or None) for path in lesson.paths]
        return cls(networks, average=lesson.average, precision=lesson.precision, taps=lesson.taps)

    @property
    def taps(self) -> Mapping[str, int]:
        """Middle layers of the first member."""
        first = self._members[0]
        return first.taps if isinstance(first, Network) else {}

    def put(self, device: Device) -> None:
        """Move the members to a device."""
        self._members = device.put(self._members)
        self._device = device

    @torch.no_grad()
    def answer(self, batch: Batch) -> Signal:
        """Complete soft targets and the members' log-posteriors for the inputs of a batch."""
        with self._device.matrix_precision(bf16=self._device.uses_bf16(self._precision)):
            first = outputs_of(self._members[0], batch.inputs, self._taps)
            logits = [first.logits, *(member(batch.inputs) for member in self._members[1:])]
        members = tuple(one.float().log_softmax(dim=-1) for one in logits)
        # Cloned, since the network may go on to use the memory of a layer.
        taps = {name: tap.float().clone() for name, tap in first.taps.items()}
        together = combined_log_posteriors(self._members, members, self._average)
        return Signal(complete_targets(together), members, taps)
