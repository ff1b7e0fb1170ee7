"""Pieces of utterances, for networks that see a stretch of frames at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kd_asr.device import Movable
from kd_asr.features.store import FrameStore, check_context


class FrameChunks(Movable):
    """Utterances cut into chunks of the same number of frames, each with the frames around it.

    Indexing with (batch,) int64 chunk numbers gives (batch, left_context + length + right_context, num_mel_bins)
    float32. The last chunk of an utterance ends with it and so may overlap the one before; an utterance shorter than a
    chunk is padded with its last frame.

    With a stride, groups of `stride` chunks share a stretch: the first has its frames 0, stride, 2 stride, ..., the
    second 1, stride + 1, .... Indexing gives each the (length - 1) stride + 1 frames from its first to its last, and
    those around them.

    Attributes:
        frames: (chunks, length) int64, frames that a chunk covers, numbered across all utterances in their order.
        counted: (chunks, length) bool, False for padding and for frames that an earlier chunk covers: every frame is
            counted once.
    """

    def __init__(
        self,
        store: FrameStore,
        utterance_ids: Sequence[str],
        *,
        length: int,
        left_context: int,
        right_context: int,
        stride: int = 1,
    ) -> None:
        """Prepare the chunks of `length` frames, `stride` frames apart.

        Raises:
            UserError: the context is wider than the store's margin.
        """
        check_context(store, left_context, right_context)
        spans = [store.rows(name) for name in utterance_ids]
        starts, ends, firsts, begins = [], [], [], []
        before = 0
        stretch = length * stride
        for span in spans:
            count = len(span)
            begin = np.minimum(np.arange(0, count, stretch), max(0, count - stretch))
            begins.append(begin)
            starts.append(span.start + begin)
            ends.append(np.full(len(begin), span.stop))
            firsts.append(np.full(len(begin), before))
            before += count
        self._matrix = torch.from_numpy(store.matrix)
        self._around = torch.arange(-left_context, (length - 1) * stride + 1 + right_context)
        stretches = _joined(begins)
        sizes = _joined(ends) - (_joined(starts) - stretches)
        # Frames covered by the previous stretch of the same utterance.
        same = torch.zeros(len(stretches), dtype=torch.bool)
        same[1:] = _joined(firsts)[1:] == _joined(firsts)[:-1]
        covered = torch.zeros(len(stretches), dtype=torch.int64)
        covered[1:] = stretches[:-1] + stretch
        covered *= same
        sizes, covered, first = (one.repeat_interleave(stride)[:, None] for one in (sizes, covered, _joined(firsts)))
        offsets = torch.arange(stride).repeat(len(stretches))
        self._starts = _joined(starts).repeat_interleave(stride) + offsets
        self._last_rows = _joined(ends).repeat_interleave(stride) - 1 + store.margin
        within = (stretches.repeat_interleave(stride) + offsets)[:, None] + stride * torch.arange(length)
        self.frames = first + within.minimum(sizes - 1)
        self.counted = (within < sizes) & (within >= covered)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, examples: Tensor) -> Tensor:
        rows = self._starts[examples, None] + self._around
        return self._matrix[rows.minimum(self._last_rows[examples, None])].float()


def _joined(parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64))


def whole_utterance(store: FrameStore, utterance_id: str, *, left_context: int, right_context: int) -> Tensor:
    """(1, left_context + frames + right_context, num_mel_bins) float32, an utterance with its margins.

    Raises:
        UserError: the context is wider than the store's margin.
    """
    check_context(store, left_context, right_context)
    rows = store.rows(utterance_id)
    return torch.from_numpy(store.matrix[rows.start - left_context : rows.stop + right_context]).float()[None]
