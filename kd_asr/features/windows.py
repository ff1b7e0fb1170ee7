"""Context windows, gathered from the frame store for each batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_asr.features.spans import Spans
from kd_asr.features.store import FrameStore, check_context


class FrameWindows:
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
        bins = store.num_mel_bins
        window = left_context + 1 + right_context
        matrix = torch.from_numpy(store.matrix)
        # Overlapping view: row r holds the window that begins at row r of the matrix.
        self._windows = matrix.as_strided((max(0, matrix.shape[0] - window + 1), window * bins), (bins, 1))
        self._frames = Spans([store.rows(name) for name in utterance_ids])
        self._left_context = left_context

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, examples: Tensor) -> Tensor:
        return self._windows[self._frames.rows(examples) - self._left_context].float()
