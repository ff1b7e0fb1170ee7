"""The members of an ensemble, moderated by a small network that has learnt on data that are new to them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_asr.device import Device
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.lead import moderated
from kd_asr.distillation.signal import Signal, complete_targets
from kd_asr.distillation.teachers.base import Lesson, Teacher
from kd_asr.distillation.teachers.members import MembersSettings, MembersTeacher
from kd_asr.errors import UserError
from kd_asr.networks.base import Network
from kd_asr.networks.files import load_network
from kd_asr.registry import teacher

_MODEL = "model.safetensors"


@dataclass(frozen=True)
class FacilitatedSettings:
    """The teacher of the method `facilitator`: the facilitator's network, and a posterior store of each member."""


@teacher("facilitated")
class FacilitatedTeacher(Teacher):
    """Teacher whose answer is t m + (1 - t) y: m is the mixture of the members' posteriors as the facilitator weighs
    them for these inputs, t how much it trusts that mixture, and y the label. Without a label, t is 1."""

    Settings = FacilitatedSettings
    gives = frozenset({"posteriors", "members"})
    source = "nothing"

    def __init__(self, facilitator: Network, members: MembersTeacher) -> None:
        """Moderate members by a trained facilitator."""
        self._facilitator = facilitator.eval().requires_grad_(False)
        self._facilitator.only_labelled = True
        self._members = members

    @classmethod
    def settled(cls, settings: FacilitatedSettings) -> FacilitatedSettings:
        """Never chosen alone.

        Raises:
            UserError: always.
        """
        raise UserError("distil.teacher: facilitated is the teacher of a method: choose --methods facilitator instead")

    @classmethod
    def open(cls, lesson: Lesson, settings: FacilitatedSettings) -> FacilitatedTeacher:
        """A facilitator, whose folder is the first path, and the stores of its members.

        Raises:
            UserError: the network was trained on other inputs, or a store was made with something else.
        """
        facilitator = load_network(lesson.paths[0] / _MODEL, lesson.header or None)
        return cls(facilitator, MembersTeacher.open(replace(lesson, paths=lesson.paths[1:]), MembersSettings()))

    def put(self, device: Device) -> None:
        """Move the network and what belongs to the members."""
        self._facilitator = device.put(self._facilitator)
        self._members.put(device)

    def read(self, numbers: Tensor) -> Signal:
        """What the members' stores hold of (labels,) int64 frame numbers."""
        return self._members.read(numbers)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Signal:
        """Complete soft targets, and each member's log-posteriors."""
        members = self._members.answer(batch).members
        mixture, trust = moderated(self._facilitator(batch.inputs).float(), members)
        labelled = batch.hard_labels >= 0
        log_trust = F.logsigmoid(trust).masked_fill(~labelled, 0.0)
        log_doubt = F.logsigmoid(-trust).masked_fill(~labelled, -torch.inf)
        label = batch.hard_labels.clamp_min(0)[:, None]
        shared = mixture + log_trust[:, None]
        of_label = torch.logaddexp(shared.gather(1, label), log_doubt[:, None])
        return Signal(complete_targets(shared.scatter(1, label, of_label)), members)
