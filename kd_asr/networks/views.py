"""How a network sees a set of utterances: a window around each frame, or a stretch of frames at once.

A view turns a frame store into a network's inputs for training, evaluation, recognition and adaptation. A network of
another kind may bring a view of its own, any class with the members of `View`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from kd_asr.features.chunks import FrameChunks, whole_utterance
from kd_asr.features.inputs import Indexable, Rows, joined_rows
from kd_asr.features.store import FrameStore
from kd_asr.features.windows import FrameWindows

_STEP = 512
_PIECE = 1 << 16


@dataclass(frozen=True)
class Seen:
    """A set of utterances as the examples of a network.

    Attributes:
        inputs: Inputs of the examples, by number.
        frames: (examples, labels) int64 by example, the frame of each label, numbered across all utterances in their
            order; None: example n is frame n and has one label.
        counted: (examples, labels) bool by example, True exactly once for every frame, so that none is learnt or scored
            twice; None: all True.
    """

    inputs: Indexable
    frames: Rows | None = None
    counted: Rows | None = None

    def within(self, frames: Tensor) -> Tensor:
        """Numbers of the examples whose first frame is in `frames`, (frames,) int64."""
        if self.frames is None:
            return frames
        top = int(frames.max())
        inside = torch.zeros(2 + top, dtype=torch.bool)  # of those after the last, as of the last number, none
        inside[frames] = True
        parts = torch.split(torch.arange(len(self.frames)), _PIECE)
        return torch.cat([part[inside[self.frames[part][:, 0].clamp_max(top + 1)]] for part in parts])


class View(Protocol):
    """How a network sees utterances. Equal views give the same inputs."""

    @property
    def context(self) -> tuple[int, int]:
        """Frames that an output depends on, before and after its own."""
        ...

    @property
    def labels_per_example(self) -> int:
        """Outputs of a network for one training example."""
        ...

    def input_shape(self, num_mel_bins: int) -> tuple[int, ...]:
        """Shape of an input, for the network's constructor."""
        ...

    def examples(self, store: FrameStore, utterance_ids: Sequence[str], *, evaluation: bool = False) -> Seen:
        """Every frame of some utterances, for training or, with `evaluation`, to be scored in evaluation mode."""
        ...

    def utterances(self, store: FrameStore, utterance_ids: Sequence[str]) -> list[Tensor]:
        """Batches whose concatenated outputs in evaluation mode are those of the utterances' frames."""
        ...

    def speaker(self, store: FrameStore, utterance_ids: Sequence[str], *, most_frames: int) -> tuple[Tensor, int]:
        """One batch with the first `most_frames` frames of a speaker's utterances, or slightly fewer, and the number of
        its outputs."""
        ...


@dataclass(frozen=True)
class Windows:
    """Every frame in a window of its neighbours, as one row of numbers.

    Attributes:
        left_context: Frames before the classified one.
        right_context: Frames after the classified one.
    """

    left_context: int
    right_context: int

    @property
    def context(self) -> tuple[int, int]:
        """Frames that an output depends on, before and after its own."""
        return self.left_context, self.right_context

    @property
    def labels_per_example(self) -> int:
        """One."""
        return 1

    def input_shape(self, num_mel_bins: int) -> tuple[int, ...]:
        """(frames, bins); a window itself comes as a row of frames * bins numbers."""
        return self.left_context + 1 + self.right_context, num_mel_bins

    def examples(self, store: FrameStore, utterance_ids: Sequence[str], *, evaluation: bool = False) -> Seen:
        """One example for each frame, the same for training and evaluation."""
        return Seen(self._windows(store, utterance_ids))

    def utterances(self, store: FrameStore, utterance_ids: Sequence[str]) -> list[Tensor]:
        """The windows of all frames as one batch."""
        seen = self._windows(store, utterance_ids)
        return [seen[torch.arange(len(seen))]]

    def speaker(self, store: FrameStore, utterance_ids: Sequence[str], *, most_frames: int) -> tuple[Tensor, int]:
        """The windows of the first frames."""
        seen = self._windows(store, utterance_ids)
        count = _rounded(min(len(seen), most_frames))
        return seen[torch.arange(count)], count

    def _windows(self, store: FrameStore, utterance_ids: Sequence[str]) -> FrameWindows:
        return FrameWindows(store, utterance_ids, left_context=self.left_context, right_context=self.right_context)


@dataclass(frozen=True)
class Chunks:
    """Stretches of an utterance with the frames around them, (frames, bins).

    Attributes:
        chunk_frames: Frames of a stretch that are learnt together.
        frame_stride: Distance between the frames that are learnt.
        left_context: Frames before the first of them.
        right_context: Frames after the last of them.
    """

    chunk_frames: int
    frame_stride: int
    left_context: int
    right_context: int

    @property
    def context(self) -> tuple[int, int]:
        """Frames that an output depends on, before and after its own."""
        return self.left_context, self.right_context

    @property
    def labels_per_example(self) -> int:
        """Frames of a stretch."""
        return self.chunk_frames

    def input_shape(self, num_mel_bins: int) -> tuple[int, ...]:
        """(bins,): the number of frames varies."""
        return (num_mel_bins,)

    def examples(self, store: FrameStore, utterance_ids: Sequence[str], *, evaluation: bool = False) -> Seen:
        """One stretch for each example; for `evaluation` it has all its frames, since a network in evaluation mode has
        no stride."""
        length, stride = self.chunk_frames, self.frame_stride
        if evaluation:
            length, stride = length * stride, 1
        left, right = self.context
        chunks = FrameChunks(store, utterance_ids, length=length, left_context=left, right_context=right, stride=stride)
        return Seen(chunks, chunks.frames, chunks.counted)

    def utterances(self, store: FrameStore, utterance_ids: Sequence[str]) -> list[Tensor]:
        """Each utterance as a batch of its own."""
        left, right = self.context
        return [whole_utterance(store, name, left_context=left, right_context=right) for name in utterance_ids]

    def speaker(self, store: FrameStore, utterance_ids: Sequence[str], *, most_frames: int) -> tuple[Tensor, int]:
        """The utterances as one stretch."""
        left, right = self.context
        parts = [whole_utterance(store, name, left_context=0, right_context=0) for name in utterance_ids]
        joined = torch.cat(parts, dim=1)
        count = _rounded(min(joined.shape[1] - left - right, most_frames))
        return joined[:, : left + count + right], max(0, count)


def _rounded(count: int) -> int:
    """`count` rounded down: batches of a thousand different sizes would fill memory with kernels."""
    return count // _STEP * _STEP if count > _STEP else count


def labelled_frames(seen: Sequence[Seen], counts: Sequence[int]) -> tuple[Rows, Rows] | None:
    """Labels of several sets, as one: `frames` and `counted` of `Seen` for all of them.

    Args:
        seen: the sets, by the same view.
        counts: number of frames in each set.

    Returns:
        None where example n is frame n.
    """
    frames: list[Rows] = []
    counted: list[Rows] = []
    for one in seen:
        if one.frames is None:
            return None
        frames.append(one.frames)
        everything = torch.ones(()).bool().expand(*one.frames.shape)  # one byte for all
        counted.append(everything if one.counted is None else one.counted)
    return joined_rows(frames, [0, *accumulate(counts)][: len(seen)]), joined_rows(counted)
