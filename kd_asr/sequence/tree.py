"""The tree of the one-state topology: pdfs of a phone and the one to its left, grown from an alignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.gmm import Floats
from kd_asr.alignment.observations import cepstra_with_deltas
from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import SILENCE
from kd_asr.alignment.tree import StateTree
from kd_asr.alignment.tying import context_statistics, frame_contexts, grow_tree
from kd_asr.sequence.settings import SequenceSettings
from kd_asr.sequence.topology import FRAME_STRIDE, STATES


def left_contexts(segments: Sequence[PhoneSegment], phones: Sequence[str]) -> NDArray[np.int64]:
    """(output frames, 4) int64 contexts of every third frame, as `tying.frame_contexts` has them; the state is 0 in a
    phone's first output frame and 1 in its others, and silence stands for every phone to the right."""
    frames = sum(item.num_frames for item in segments)
    within = np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(item.num_frames) for item in segments)])
    contexts = frame_contexts(segments, np.minimum(within // FRAME_STRIDE, STATES - 1), phones)
    contexts[:, 2] = list(phones).index(SILENCE)
    return contexts[np.arange(0, frames, FRAME_STRIDE)]


def left_biphone_tree(
    utterances: Sequence[tuple[Floats, Sequence[PhoneSegment]]], phones: tuple[str, ...], settings: SequenceSettings
) -> StateTree:
    """Grow the tree on cepstra of every third frame.

    Args:
        utterances: (frames, bins) normalised log-mel frames and timed phones of each training utterance.
        phones: all phones, `SIL` among them.
        settings: number and smallest size of the leaves.
    """
    observations = [cepstra_with_deltas(log_mel)[::FRAME_STRIDE] for log_mel, _ in utterances]
    contexts = [left_contexts(segments, phones) for _, segments in utterances]
    statistics = context_statistics(np.concatenate(observations), np.concatenate(contexts), phones)
    return grow_tree(statistics, leaves=settings.leaves, min_frames=settings.leaf_min_frames, num_states=STATES)
