"""A teacher that answers by the mean over transforms of the input (Radosavovic, Dollar, Girshick, Gkioxari, He, CVPR
2018, arXiv 1712.04440)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch

from kd_asr.device import Device
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal, complete_targets
from kd_asr.distillation.teachers.base import Lesson, Teacher
from kd_asr.distillation.teachers.live import LiveSettings, LiveTeacher
from kd_asr.features.transforms import Transform, image_transforms, speech_transforms
from kd_asr.networks.ensemble import average_log_posteriors
from kd_asr.registry import teacher
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Distinct, Unit


@dataclass(frozen=True)
class TransformsSettings:
    """Networks whose posteriors for each batch, as the student sees it, and for transforms of it are averaged.

    Attributes:
        warps: Of speech: factors by which the frequency axis is warped, as by vocal tracts of other lengths.
        hidden_bands: Of speech: equal bands of filterbank outputs, of which one after the other is hidden; 0: none.
        shift_pixels: Of images: how far they are moved, to the left, to the right, up and down; 0: not.
    """

    warps: Annotated[tuple[Annotated[float, Above(0.5), AtMost(2)], ...], Distinct()] = (0.9, 1.1)
    hidden_bands: Annotated[int, AtLeast(0), AtMost(500), Unit("bands")] = 0
    shift_pixels: Annotated[int, AtLeast(0), AtMost(100), Unit("pixels")] = 1


@teacher("transforms")
class TransformsTeacher(Teacher):
    """Teacher whose posteriors are the mean over its networks and over transforms of the batch, none of which moves a
    frame. The batch as it is counts as one of them."""

    Settings = TransformsSettings
    gives = frozenset({"posteriors"})
    source = "networks"

    def __init__(
        self, asked: LiveTeacher, transforms: Sequence[Transform], average: Literal["arithmetic", "geometric"]
    ) -> None:
        """Ask a live teacher about each transform of a batch."""
        self._asked = asked
        self._transforms = list(transforms)
        self._average: Literal["arithmetic", "geometric"] = average

    @classmethod
    def open(cls, lesson: Lesson, settings: TransformsSettings) -> TransformsTeacher:
        """The lesson's networks, with the transforms that its inputs can have.

        Raises:
            UserError: a network was trained on other inputs.
        """
        asked = LiveTeacher.open(lesson, LiveSettings())
        pixels = lesson.header.get("image_pixels")
        if isinstance(pixels, int):
            return cls(asked, image_transforms(pixels, shift_pixels=settings.shift_pixels), lesson.average)
        speech = speech_transforms(lesson.header, warps=settings.warps, hidden_bands=settings.hidden_bands)
        return cls(asked, speech, lesson.average)

    def put(self, device: Device) -> None:
        """Move networks and transforms to a device."""
        self._asked.put(device)
        self._transforms = device.put(self._transforms)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Signal:
        """Complete soft targets for the inputs of a batch."""
        signals = [self._asked.answer(replace(batch, inputs=one(batch.inputs))) for one in self._transforms]
        members = [member for signal in signals for member in signal.members]
        return Signal(complete_targets(average_log_posteriors(members, self._average)))
