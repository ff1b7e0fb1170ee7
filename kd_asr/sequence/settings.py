"""Settings of the graphs of sequence training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from kd_asr.settings.ranges import AtLeast, AtMost, Unit


@dataclass(frozen=True)
class SequenceSettings:
    """Targets and denominator of sequence training (LF-MMI: Povey and others, Interspeech 2016).

    Attributes:
        leaves: Tied pdfs of left biphones; fewer if no further split gains anything. Kaldi's mini LibriSpeech recipes
            have about 2300 for 15 hours of copies of 5 hours.
        leaf_min_frames: Smallest number of output frames of a tied pdf.
        longer_histories: Histories of three phones that have a state of their own in the phone language model, beside
            all of two (Povey and others 2016: 2000).
        leaky: Coefficient of the leaky HMM: in each frame, the probability of going on anywhere (Kaldi's mini
            LibriSpeech recipes: 0.1).
        taught: What the posterior store keeps of the ensemble for its students: the softmax of its averaged outputs,
            `posteriors`, for the loss `sequence_soft`; or the mean of its members' `occupations` of the denominator
            (Wong, Gales 2016), for the loss `occupations`.
    """

    leaves: Annotated[int, AtLeast(1), AtMost(65_000)] = 1500
    leaf_min_frames: Annotated[int, AtLeast(1), AtMost(1_000_000_000), Unit("frames")] = 50
    longer_histories: Annotated[int, AtLeast(0), AtMost(1_000_000)] = 2000
    leaky: Annotated[float, AtLeast(0), AtMost(1)] = 0.1
    taught: Literal["posteriors", "occupations"] = "posteriors"
