"""Teachers of sequences, utterance by utterance: their paths through the denominator as soft targets of each frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_asr.sequence.forward_backward import DenominatorSums, averaged_occupation
from kd_asr.sequence.topology import FRAME_STRIDE


@torch.no_grad()
def log_occupations(log_posteriors: Sequence[Tensor], counts: Sequence[int], denominator: DenominatorSums) -> Tensor:
    """(frames, pdfs) logarithm of the mean over teachers of each pdf's occupation of the denominator; every third frame
    of an utterance, from each of its first three on, is one sequence.

    Args:
        log_posteriors: (frames, pdfs) float32 of each teacher, utterances one after the other; whatever is added to all
            pdfs of a frame cancels.
        counts: frames of each utterance.
        denominator: of the same pdfs.
    """
    found = torch.empty_like(log_posteriors[0])
    first = 0
    for count in counts:
        for start in range(first, first + min(FRAME_STRIDE, count)):
            rows = slice(start, first + count, FRAME_STRIDE)
            found[rows] = averaged_occupation([one[rows][None] for one in log_posteriors], denominator)[0].log()
        first += count
    return found
