"""Rows of a store for example numbers: utterances are apart in the store, examples are numbered across them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kd_asr.device import Movable


class Spans(Movable):
    """Rows of the frames of some utterances, one utterance after the other.

    Only the spans are kept, not the row of every frame, which would be 8 bytes per frame in every process.
    """

    def __init__(self, spans: Sequence[range]) -> None:
        """`spans`: the rows of each utterance, in the order of the numbering."""
        lengths = np.array([len(span) for span in spans], dtype=np.int64)
        self._count = int(lengths.sum())  # asked for on any device, without a look at its numbers
        self._ends = torch.from_numpy(np.cumsum(lengths))
        starts = np.array([span.start for span in spans], dtype=np.int64)
        # Offset from example number to row, the same for all examples of an utterance.
        self._offsets = torch.from_numpy(starts - (np.cumsum(lengths) - lengths))

    def __len__(self) -> int:
        return self._count

    def rows(self, examples: Tensor) -> Tensor:
        """(batch,) int64 rows of (batch,) int64 example numbers."""
        return examples + self._offsets[torch.searchsorted(self._ends, examples, right=True)]
