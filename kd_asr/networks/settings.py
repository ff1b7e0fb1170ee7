"""Settings that all networks have in common: which ones teach and learn, and how they adapt to speakers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.registry import Named
from kd_asr.settings.ranges import AtLeast, Inherits, OfKind, Unit


@dataclass(frozen=True)
class TeacherSettings:
    """What the teachers are, and the networks to align with.

    Attributes:
        network: Their network; null: `network`.
    """

    network: Annotated[Named | None, OfKind("network"), Inherits("network")] = None


@dataclass(frozen=True)
class StudentSettings:
    """What the students are, and the networks on hard labels that they are compared with.

    Attributes:
        network: Their network; null: `network`.
    """

    network: Annotated[Named | None, OfKind("network"), Inherits("network")] = None


@dataclass(frozen=True)
class AdaptSettings:
    """Speaker adaptation without transcripts, when dev, test and audio of one's own are scored or recognised.

    Attributes:
        prior_frames: Frames for which the training set's means and variances in batch normalisation count, against the
            speaker's own frames; 0: networks stay as they were trained. 8000 suit networks that saw few speakers.
        most_frames: Most frames of a speaker that are measured.
    """

    prior_frames: Annotated[int, AtLeast(0), Unit("frames")] = 0
    most_frames: Annotated[int, AtLeast(2), Unit("frames")] = 30_000
