"""Parts of utterances that are learnt from, while the rest is left out: which they are, and where they are listed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_asr.artifacts import damaged


@dataclass(frozen=True)
class Part:
    """Consecutive frames of an utterance, with a name of their own."""

    name: str
    utterance_id: str
    first_frame: int
    frames: int


def without_long_silence(silent: NDArray[np.bool_], longest: int) -> list[tuple[int, int]]:
    """What is left of an utterance without the middle of its long silences.

    Args:
        silent: (frames,) whether a frame is silence.
        longest: frames of silence that are kept; of a longer stretch half of them stay at each end that borders on
            speech.

    Returns:
        (first, end) of every part that is left, in order.
    """
    edges = np.flatnonzero(np.diff(silent.astype(np.int8), prepend=0, append=0))
    kept = np.ones(len(silent), dtype=bool)
    half = longest // 2
    for start, end in edges.reshape(-1, 2):
        if end - start > longest:
            kept[start + (half if start > 0 else 0) : end - (half if end < len(silent) else 0)] = False
    bounds = np.flatnonzero(np.diff(kept.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    return [(int(first), int(end)) for first, end in bounds]


def write_parts(path: Path, parts: Iterable[Part]) -> None:
    """Write a tab-separated table with a header line."""
    with path.open("w", encoding="utf-8") as file:
        file.write("name\tutterance_id\tfirst_frame\tframes\n")
        file.writelines(f"{one.name}\t{one.utterance_id}\t{one.first_frame}\t{one.frames}\n" for one in parts)


def read_parts(path: Path) -> list[Part]:
    """Read what `write_parts` wrote.

    Raises:
        UserError: the table is damaged; names it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        return [
            Part(name, utterance_id, int(first), int(frames))
            for name, utterance_id, first, frames in (line.split("\t") for line in lines)
        ]
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
