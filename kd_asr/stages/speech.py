"""Groups of utterances, for stages that work on them in parallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kd_asr.alignment.store import AlignmentStore


def utterance_chunks(
    alignments: AlignmentStore, frames: int, utterance_ids: Sequence[str] | None = None
) -> list[tuple[list[str], int]]:
    """Groups of consecutive utterances with at least `frames` frames each, and their numbers of frames."""
    names = alignments.utterance_ids if utterance_ids is None else utterance_ids
    return chunks_of(names, lambda name: len(alignments.pdfs(name)), frames)


def chunks_of(
    utterance_ids: Sequence[str], frames_of: Callable[[str], int], frames: int
) -> list[tuple[list[str], int]]:
    """`utterance_chunks` of utterances whose numbers of frames `frames_of` tells."""
    chunks: list[tuple[list[str], int]] = []
    names: list[str] = []
    count = 0
    for name in utterance_ids:
        names.append(name)
        count += frames_of(name)
        if count >= frames:
            chunks.append((names, count))
            names, count = [], 0
    return [*chunks, (names, count)] if names else chunks
