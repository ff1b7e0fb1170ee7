"""Pieces of utterances, for networks that see a stretch of frames at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kd_asr.features.store import FrameStore, check_context


class FrameChunks:
    """Utterances cut into chunks of the same number of frames, each with the frames around it.

    Indexing with (batch,) int64 chunk numbers gives (batch, left_context + length + right_context, num_mel_bins)
    float32. The last chunk of an utterance ends where it ends, and so may overlap the one before; an utterance shorter
    than a chunk is one, filled up with its last frame.

    Attributes:
        frames: (chunks, length) int64, the frames that a chunk covers, numbered through all utterances in their order.
        counted: (chunks, length) bool, False for frames that an earlier chunk has covered or that were filled up:
            every frame is counted once.
    """

    def __init__(
        self, store: FrameStore, utterance_ids: Sequence[str], *, length: int, left_context: int, right_context: int
    ) -> None:
        """Prepare the chunks of `length` frames.

        Raises:
            UserError: the context is wider than the store's margin.
        """
        check_context(store, left_context, right_context)
        spans = [store.rows(name) for name in utterance_ids]
        starts, ends, firsts, begins = [], [], [], []
        before = 0
        for span in spans:
            count = len(span)
            begin = np.minimum(np.arange(0, count, length), max(0, count - length))
            begins.append(begin)
            starts.append(span.start + begin)
            ends.append(np.full(len(begin), span.stop))
            firsts.append(np.full(len(begin), before))
            before += count
        self._matrix = torch.from_numpy(store.matrix)
        self._around = torch.arange(-left_context, length + right_context)
        self._starts = _joined(starts)
        self._last_rows = _joined(ends) - 1 + store.margin
        within = _joined(begins)[:, None] + torch.arange(length)
        sizes = _joined(ends) - (self._starts - _joined(begins))
        self.frames = _joined(firsts)[:, None] + within.minimum(sizes[:, None] - 1)
        self.counted = within < sizes[:, None]
        # What the chunk before, of the same utterance, has covered.
        same = torch.zeros(len(within), dtype=torch.bool)
        same[1:] = _joined(firsts)[1:] == _joined(firsts)[:-1]
        covered = torch.zeros(len(within), dtype=torch.int64)
        covered[1:] = within[:-1, -1] + 1
        self.counted &= ~(same[:, None] & (within < covered[:, None]))

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, examples: Tensor) -> Tensor:
        rows = self._starts[examples, None] + self._around
        return self._matrix[rows.minimum(self._last_rows[examples, None])].float()


def _joined(parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64))


def whole_utterance(store: FrameStore, utterance_id: str, *, left_context: int, right_context: int) -> Tensor:
    """(1, left_context + frames + right_context, num_mel_bins) float32: an utterance and the frames around it.

    Raises:
        UserError: the context is wider than the store's margin.
    """
    check_context(store, left_context, right_context)
    rows = store.rows(utterance_id)
    return torch.from_numpy(store.matrix[rows.start - left_context : rows.stop + right_context]).float()[None]
