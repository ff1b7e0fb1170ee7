"""The frame store: normalised log-mel frames of a set, written once, memory-mapped for reading.

A store is a folder: `frames.f16` (the matrix, float16, row-major), `header.json`, `utterances.txt` (one id per line,
in the order of the manifest) and `layout.npy` (first row and number of frames of each). Before and after each
utterance its first and last frame are repeated `MARGIN` times, so that the context window of any frame is one
contiguous piece of the matrix and windows can be gathered on the fly without copies or special cases at the edges.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from kd_asr.artifacts import damaged, read_json, read_layout, read_names, write_array, write_json
from kd_asr.corpora.manifest import Utterance
from kd_asr.errors import UserError
from kd_asr.features.parts import Part
from kd_asr.features.settings import FeatureSettings

MARGIN = 32


def _layout(frame_counts: Sequence[int]) -> np.ndarray:
    """(utterances, 2) int64: first row of the real frames, number of frames."""
    counts = np.asarray(frame_counts, dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(counts + 2 * MARGIN)[:-1]]) + MARGIN if len(counts) else counts
    return np.stack([starts, counts], axis=1)


def create_store(
    folder: Path, utterance_ids: Sequence[str], frame_counts: Sequence[int], settings: FeatureSettings
) -> None:
    """Make an empty store for utterances of known lengths; `FrameStore.write` fills it, in any order.

    Raises:
        OSError: the disk has no room for the whole matrix, which is reserved at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = int(sum(frame_counts)) + 2 * MARGIN * len(frame_counts)
    with (folder / "frames.f16").open("wb") as file:
        size = rows * settings.num_mel_bins * 2
        # Reserve the blocks now, so that a full disk is an error here instead of a bus error when a mapped page is
        # written.
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    (folder / "utterances.txt").write_text("".join(f"{name}\n" for name in utterance_ids), encoding="utf-8")
    write_array(folder / "layout.npy", _layout(frame_counts))
    write_json(folder / "header.json", {"rows": rows, "margin": MARGIN, "features": settings.described()})


class FrameStore:
    """Read access to a frame store.

    Attributes:
        matrix: (rows, num_mel_bins) float16, memory-mapped.
        utterance_ids: Ids in the order of the manifest.
        margin: Number of repeated frames before and after each utterance.
        features: Settings with which the frames were made, as a mapping.
    """

    def __init__(self, folder: Path, *, writable: bool = False) -> None:
        self._folder = folder
        header = read_json(folder / "header.json")
        try:
            self.features: dict[str, object] = dict(header["features"])
            self.margin, self.num_mel_bins, num_rows = (
                int(value) for value in (header["margin"], header["features"]["num_mel_bins"], header["rows"])
            )
            if min(self.margin, num_rows) < 0 or self.num_mel_bins < 1:
                raise ValueError("numbers out of their range")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise damaged(folder / "header.json", error) from error
        self.utterance_ids = read_names(folder / "utterances.txt")
        self.layout = read_layout(folder / "layout.npy", len(self.utterance_ids), num_rows, self.margin)
        self._number = {name: number for number, name in enumerate(self.utterance_ids)}
        path = folder / "frames.f16"
        expected = num_rows * self.num_mel_bins * 2
        if path.stat().st_size != expected:
            raise UserError(
                f"{path} has {path.stat().st_size} bytes instead of {expected}: delete {folder.parent} and make the "
                "features again"
            )
        # "c": pages are shared until written, and torch accepts the array as a tensor without a warning.
        mode = "r+" if writable else "c"
        shape = (num_rows, self.num_mel_bins)
        self.matrix = (
            np.memmap(path, dtype=np.float16, mode=mode, shape=shape)  # type: ignore[call-overload]
            if expected
            else np.zeros(shape, dtype=np.float16)
        )

    @classmethod
    def open(cls, folder: Path) -> FrameStore:
        """Map the store in `folder`.

        Raises:
            UserError: the matrix does not have the size in its header.
        """
        return cls(folder)

    def with_parts(self, parts: Sequence[Part]) -> FrameStore:
        """The same matrix with parts of utterances as utterances; the frames around a part are those of its
        utterance."""
        made = copy.copy(self)
        made.utterance_ids = [part.name for part in parts]
        starts = [self.rows(part.utterance_id).start + part.first_frame for part in parts]
        made.layout = np.array([starts, [part.frames for part in parts]], dtype=np.int64).T
        made._number = {name: number for number, name in enumerate(made.utterance_ids)}
        return made

    def check_finite(self) -> None:
        """Read every frame; a frame that is not finite is a `UserError` that names its utterance."""
        for utterance_id in self.utterance_ids:
            if not np.isfinite(self.frames(utterance_id)).all():
                raise damaged(self._folder / "frames.f16", f"frames of {utterance_id} are not finite numbers")

    def present(self, utterances: Iterable[Utterance]) -> list[Utterance]:
        """Those of some utterances that are in the store, in order."""
        return [item for item in utterances if item.utterance_id in self._number]

    def rows(self, utterance_id: str) -> range:
        """Rows of `matrix` with the utterance's frames, without the margin."""
        start, count = self.layout[self._number[utterance_id]]
        return range(int(start), int(start + count))

    def num_frames(self, utterance_id: str) -> int:
        """Number of frames of the utterance."""
        return int(self.layout[self._number[utterance_id], 1])

    def frames(self, utterance_id: str) -> np.ndarray:
        """(frames, num_mel_bins) float32 copy of the utterance's frames, without the margin."""
        rows = self.rows(utterance_id)
        return self.matrix[rows.start : rows.stop].astype(np.float32)

    def write(self, utterance_id: str, frames: np.ndarray) -> None:
        """Write an utterance's (frames, num_mel_bins) frames and its margins; the store must be `writable`."""
        rows = self.rows(utterance_id)
        self.matrix[rows.start : rows.stop] = frames
        self.matrix[rows.start - self.margin : rows.start] = frames[0]
        self.matrix[rows.stop : rows.stop + self.margin] = frames[-1]


def check_context(store: FrameStore, left_context: int, right_context: int) -> None:
    """Raise a `UserError` if a network's context is wider than the store's margin."""
    if max(left_context, right_context) > store.margin:
        raise UserError(
            f"the network sees {left_context} frames before and {right_context} after each, more than the margin of "
            f"{store.margin} in the frame store: give the network a narrower one"
        )
