"""Pieces of utterances, for networks that see a stretch of frames at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_asr.device import Movable
from kd_asr.features.store import FrameStore, check_context


@dataclass(frozen=True)
class ChunkPlaces:
    """Where the chunks of some utterances lie, computed from 32 bytes for each utterance.

    Attributes:
        ends: (utterances,) int64, stretches of the utterances up to this one, itself included.
        counts: (utterances,) int64, frames of each.
        firsts: (utterances,) int64, number of its first frame across all utterances.
        starts: (utterances,) int64, row of its first frame in the store.
        length: Frames of a chunk.
        stride: Frames from one of them to the next.
        chunks: Number of chunks, known without a look at the tensors, which may lie on a device.
    """

    ends: Tensor
    counts: Tensor
    firsts: Tensor
    starts: Tensor
    length: int
    stride: int
    chunks: int

    @classmethod
    def of(cls, spans: Sequence[range], *, length: int, stride: int) -> ChunkPlaces:
        """The places in utterances that have these rows of a store."""
        counts = torch.tensor([len(span) for span in spans], dtype=torch.int64)
        starts = torch.tensor([span.start for span in spans], dtype=torch.int64)
        stretch = length * stride
        ends, firsts = ((counts + stretch - 1) // stretch).cumsum(0), counts.cumsum(0) - counts
        chunks = int(ends[-1]) * stride if len(spans) else 0
        return cls(ends, counts, firsts, starts, length, stride, chunks)

    def __len__(self) -> int:
        return self.chunks

    def _of(self, chunks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch,) each: utterance, its frame at which the stretch of the chunk begins, and its first frame that no
        stretch before covers."""
        stretch = self.length * self.stride
        number = chunks // self.stride
        utterance = torch.searchsorted(self.ends, number, right=True)
        count = self.counts[utterance]
        # All stretches of the utterance before this one are whole and side by side.
        covered = (number - self.ends[utterance]) * stretch + (count + stretch - 1) // stretch * stretch
        return utterance, covered.minimum((count - stretch).clamp_min(0)), covered

    def rows(self, chunks: Tensor) -> tuple[Tensor, Tensor]:
        """(batch,) each: row of the chunk's first frame, and of its utterance's last one."""
        utterance, begin, _ = self._of(chunks)
        start = self.starts[utterance]
        return start + begin + chunks % self.stride, start + self.counts[utterance] - 1

    def _within(self, begin: Tensor, chunks: Tensor) -> Tensor:
        offsets = self.stride * torch.arange(self.length, device=chunks.device)
        return (begin + chunks % self.stride)[:, None] + offsets

    def frames(self, chunks: Tensor) -> Tensor:
        """(batch, length) int64, numbers of the frames that chunks cover."""
        utterance, begin, _ = self._of(chunks)
        within = self._within(begin, chunks).minimum(self.counts[utterance, None] - 1)
        return self.firsts[utterance, None] + within

    def counted(self, chunks: Tensor) -> Tensor:
        """(batch, length) bool, False for padding and for frames that an earlier chunk covers."""
        utterance, begin, covered = self._of(chunks)
        within = self._within(begin, chunks)
        return (within < self.counts[utterance, None]) & (within >= covered[:, None])


@dataclass(frozen=True)
class ChunkRows:
    """(chunks, length) what places say of every chunk, by number.

    Attributes:
        places: Places of the chunks.
        counted: Whether `ChunkPlaces.counted` is told, or `ChunkPlaces.frames`.
    """

    places: ChunkPlaces
    counted: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Chunks, and frames of each."""
        return len(self.places), self.places.length

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, chunks: Tensor) -> Tensor:
        return self.places.counted(chunks) if self.counted else self.places.frames(chunks)


class FrameChunks(Movable):
    """Utterances cut into chunks of the same number of frames, each with the frames around it.

    Indexing with (batch,) int64 chunk numbers gives (batch, left_context + length + right_context, num_mel_bins)
    float32. The last chunk of an utterance ends with it and so may overlap the one before; an utterance shorter than a
    chunk is padded with its last frame.

    With a stride, groups of `stride` chunks share a stretch: the first has its frames 0, stride, 2 stride, ..., the
    second 1, stride + 1, .... Indexing gives each the (length - 1) stride + 1 frames from its first to its last, and
    those around them.

    Nothing is kept for each chunk, which in every process would be more than ten bytes per frame.

    Attributes:
        frames: (chunks, length) int64, frames that a chunk covers, numbered across all utterances in their order; by
            chunk number.
        counted: (chunks, length) bool, False for padding and for frames that an earlier chunk covers: every frame is
            counted once; by chunk number.
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
        self._places = ChunkPlaces.of(spans, length=length, stride=stride)
        self._matrix = torch.from_numpy(store.matrix)
        self._around = torch.arange(-left_context, (length - 1) * stride + 1 + right_context)
        self._margin = store.margin
        self.frames = ChunkRows(self._places)
        self.counted = ChunkRows(self._places, counted=True)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, examples: Tensor) -> Tensor:
        starts, last = self._places.rows(examples)
        return self._matrix[(starts[:, None] + self._around).minimum(last[:, None] + self._margin)].float()


def whole_utterance(store: FrameStore, utterance_id: str, *, left_context: int, right_context: int) -> Tensor:
    """(1, left_context + frames + right_context, num_mel_bins) float32, an utterance with its margins.

    Raises:
        UserError: the context is wider than the store's margin.
    """
    check_context(store, left_context, right_context)
    rows = store.rows(utterance_id)
    return torch.from_numpy(store.matrix[rows.start - left_context : rows.stop + right_context]).float()[None]
