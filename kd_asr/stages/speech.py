"""Groups of utterances, for stages that work on them in parallel."""

from __future__ import annotations

from collections.abc import Sequence

from kd_asr.alignment.store import AlignmentStore


def utterance_chunks(
    alignments: AlignmentStore, frames: int, utterance_ids: Sequence[str] | None = None
) -> list[tuple[list[str], int]]:
    """Groups of consecutive utterances with at least `frames` frames each, and their numbers of frames."""
    chunks: list[tuple[list[str], int]] = []
    names: list[str] = []
    count = 0
    for name in alignments.utterance_ids if utterance_ids is None else utterance_ids:
        names.append(name)
        count += len(alignments.pdfs(name))
        if count >= frames:
            chunks.append((names, count))
            names, count = [], 0
    return [*chunks, (names, count)] if names else chunks
