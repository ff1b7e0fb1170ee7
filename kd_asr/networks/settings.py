"""Settings of the teachers' and students' networks, and of their adaptation to speakers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.registry import Named
from kd_asr.settings.ranges import AtLeast, AtMost, Inherits, OfKind, Unit


@dataclass(frozen=True)
class TeacherSettings:
    """Networks of the teachers and of realignment.

    Attributes:
        network: Network to use instead of the setting `network`; null: that one.
    """

    network: Annotated[Named | None, OfKind("network"), Inherits("network")] = None


@dataclass(frozen=True)
class StudentSettings:
    """Networks of the students and of their baselines.

    Attributes:
        network: Network to use instead of the setting `network`; null: that one.
    """

    network: Annotated[Named | None, OfKind("network"), Inherits("network")] = None


@dataclass(frozen=True)
class AdaptSettings:
    """Speaker adaptation without transcripts, when dev, test and your own audio are scored or recognised.

    Attributes:
        prior_frames: Weight, in frames, of the training set's means and variances in batch normalisation against those
            of the speaker's own frames; 0: no adaptation. 8000 suits networks that saw few speakers.
        most_frames: Largest number of a speaker's frames that their statistics are taken from.
    """

    prior_frames: Annotated[int, AtLeast(0), AtMost(1_000_000_000), Unit("frames")] = 0
    most_frames: Annotated[int, AtLeast(2), AtMost(1_000_000_000), Unit("frames")] = 30_000
