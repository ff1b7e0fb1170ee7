"""Agreement of an alignment with a reference: phones of frames, and times of boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Protocol

import numpy as np

from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import without_position


class InTime(Protocol):
    """A reference phone: start and duration in seconds."""

    @property
    def phone(self) -> str: ...
    @property
    def start(self) -> float: ...
    @property
    def duration(self) -> float: ...


@dataclass(frozen=True)
class Agreement:
    """Comparison of some utterances; `a + b` combines two.

    Attributes:
        frames: number of frames compared.
        agreeing: frames with the same phone in both.
        boundaries: number of boundaries between two phones of the reference.
        errors: our time minus the reference's, in seconds, of each boundary between the same two phones in both.
    """

    frames: int = 0
    agreeing: int = 0
    boundaries: int = 0
    errors: tuple[float, ...] = field(default=())

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.frames + other.frames,
            self.agreeing + other.agreeing,
            self.boundaries + other.boundaries,
            self.errors + other.errors,
        )

    def figures(self) -> dict[str, float | int]:
        """Figures for reports; times in milliseconds, absolute differences except for the bias."""
        milliseconds = 1000 * np.array(self.errors)
        size = np.abs(milliseconds)
        some = len(size) > 0
        return {
            "frames": self.frames,
            "frame_agreement": round(self.agreeing / self.frames, 4) if self.frames else 0.0,
            "boundaries": self.boundaries,
            "boundaries_matched": len(size),
            "boundary_error_mean_ms": round(float(size.mean()), 2) if some else 0.0,
            "boundary_error_median_ms": round(float(np.median(size)), 2) if some else 0.0,
            "boundary_bias_ms": round(float(np.median(milliseconds)), 2) if some else 0.0,
            "boundaries_within_20_ms": round(float((size <= 20.0 + 1e-6).mean()), 4) if some else 0.0,
        }


def plain_phone(phone: str) -> str:
    """A phone without position mark and stress: `IH1_B` is `IH`."""
    return without_position(phone).rstrip("012")


def compare(
    segments: Sequence[PhoneSegment], reference: Sequence[InTime], *, frame_shift: float, first_frame: float = 0.0
) -> Agreement:
    """Compare one utterance, ignoring stress and position marks.

    Args:
        segments: our phones, without gaps from frame 0.
        reference: phones in order of time; frames that no phone covers count as disagreeing.
        frame_shift: seconds between frames.
        first_frame: time in seconds at which frame 0 begins: 0 for a reference whose times come from frames (Kaldi's
            CTM), (window - shift) / 2 for true times, so that a frame's span is centred in its analysis window.
    """
    ours = [plain_phone(item.phone) for item in segments]
    theirs = [plain_phone(item.phone) for item in reference]
    frames = sum(item.num_frames for item in segments)
    middles = first_frame + (np.arange(frames) + 0.5) * frame_shift
    starts = np.array([item.start for item in reference])
    ends = starts + np.array([item.duration for item in reference])
    agreeing = 0
    if theirs:
        place = np.maximum(np.searchsorted(starts, middles, side="right") - 1, 0)
        covered = (middles >= starts[place]) & (middles < ends[place])
        label = np.repeat(ours, [item.num_frames for item in segments])
        agreeing = int(((np.array(theirs)[place] == label) & covered).sum())
    errors = []
    # A boundary is the same in both only if the phones on its two sides are.
    for mine, other, size in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        for step in range(1, size):
            time = first_frame + segments[mine + step].start_frame * frame_shift
            errors.append(time - reference[other + step].start)
    return Agreement(frames, agreeing, max(0, len(theirs) - 1), tuple(errors))
