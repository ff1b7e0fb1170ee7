"""Aligned words that cannot be right: an aligner finds a place for every word, also for one that was never said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kd_asr.alignment.store import AlignmentStore, PhoneSegment
from kd_asr.alignment.topology import SILENCE
from kd_asr.alignment.words import WordSegment

# Of all phones in the training set so many are shorter than what counts as long, and so many times that is too long. On
# mini LibriSpeech that is 1.02 s, and none of 104,000 phones of train, dev and test is longer than 1 s.
_USUAL = 0.999
_TOO_MANY_TIMES = 3
# On mini LibriSpeech's dev, with a network of the quick preset, the geometric mean of the posteriors is below this for
# 0.5 % of the words that were said, and for 60 % of those that stand in a transcript in the place of another.
LOWEST_POSTERIOR = 0.005
_SAMPLED_UTTERANCES = 500


def longest_phone(alignments: AlignmentStore) -> int:
    """Frames that no phone but silence lasts: three times what one phone of a thousand exceeds in the training set.

    Args:
        alignments: of the training set; 500 utterances of it, evenly chosen, are looked at.
    """
    names = alignments.utterance_ids[:: max(1, len(alignments.utterance_ids) // _SAMPLED_UTTERANCES)]
    lengths = [item.num_frames for name in names for item in alignments.phones(name) if item.phone != SILENCE]
    return _TOO_MANY_TIMES * int(np.ceil(np.quantile(lengths or [1], _USUAL)))


def doubts(
    words: Sequence[WordSegment], phones: Sequence[PhoneSegment], *, longest: int, frame_shift: float
) -> dict[int, str]:
    """What speaks against the words that cannot be right, by their place in the transcript.

    Args:
        words: aligned.
        phones: the same, in order.
        longest: see `longest_phone`.
        frame_shift: seconds from frame to frame.
    """
    found = {}
    for place, word in enumerate(words):
        end = word.start_frame + word.num_frames
        within = [item for item in phones if word.start_frame <= item.start_frame < end and item.phone != SILENCE]
        most = max((item.num_frames for item in within), default=0)
        reasons = []
        if most > longest:
            reasons.append(f"one of its phones lasts {most * frame_shift:.2f} s")
        if word.posterior < LOWEST_POSTERIOR:
            reasons.append(f"its mean posterior is {word.posterior:.2g}")
        if reasons:
            found[place] = " and ".join(reasons)
    return found
