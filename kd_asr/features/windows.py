"""Context windows, gathered from the frame store for each batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_asr.device import Movable
from kd_asr.features.spans import Spans
from kd_asr.features.store import FrameStore, check_context


class FrameWindows(Movable):
    """Context windows of every frame of some utterances, as an indexable matrix that is never stored.

    Indexing with (batch,) int64 example numbers gives (batch, window * num_mel_bins) float32. Examples are the frames,
    one utterance after the other.
    """

    def __init__(
        self, store: FrameStore, utterance_ids: Sequence[str], *, left_context: int, right_context: int
    ) -> None:
        """Prepare the windows of `left_context` frames before and `right_context` frames after each frame.

        Raises:
            UserError: the context is wider than the store's margin.
        """
        check_context(store, left_context, right_context)
        self._matrix = torch.from_numpy(store.matrix)
        self._window = left_context + 1 + right_context
        self._frames = Spans([store.rows(name) for name in utterance_ids])
        self._left_context = left_context

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, examples: Tensor) -> Tensor:
        # Overlapping view: row r holds the window that begins at row r of the matrix.
        rows, bins = self._matrix.shape
        windows = self._matrix.as_strided((max(0, rows - self._window + 1), self._window * bins), (bins, 1))
        return windows[self._frames.rows(examples) - self._left_context].float()
