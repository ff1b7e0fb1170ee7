"""Alignments on disk: the pdf and the phone of every frame of a set.

A store is a folder: `utterances.txt` (one id per line), `frames.npy` (frames of each utterance), `pdfs.npy` (all
frames, utterance after utterance, int32) and `phones.jsonl` (one list of `[phone, first frame, frames]` per utterance).
"""

from __future__ import annotations

import json
import mmap
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from kd_asr.artifacts import damaged, read_array, read_names, write_array

_PIECE = 1 << 24


@dataclass(frozen=True)
class PhoneSegment:
    """A phone with its first frame and number of frames."""

    phone: str
    start_frame: int
    num_frames: int


@dataclass(frozen=True)
class Alignment:
    """The aligned frames of one utterance: `pdfs` is (frames,) int32, `phones` covers the frames without gaps."""

    utterance_id: str
    pdfs: np.ndarray
    phones: tuple[PhoneSegment, ...]


def write_alignments(folder: Path, alignments: Iterable[Alignment]) -> None:
    """Write a store, one alignment after the other, so that no more than one is in memory; the order is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    counts: list[int] = []
    blocks = folder / ".pdfs.tmp"
    with (
        (folder / "utterances.txt").open("w", encoding="utf-8") as names,
        (folder / "phones.jsonl").open("w", encoding="utf-8") as phones,
        blocks.open("wb") as pdfs,
    ):
        for alignment in alignments:
            counts.append(len(alignment.pdfs))
            pdfs.write(alignment.pdfs.astype(np.int32).tobytes())
            names.write(f"{alignment.utterance_id}\n")
            segments = [[item.phone, item.start_frame, item.num_frames] for item in alignment.phones]
            phones.write(json.dumps(segments) + "\n")
    # The header says how many frames follow, which is known only now.
    kind = np.lib.format.dtype_to_descr(np.dtype(np.int32))
    header = {"descr": kind, "fortran_order": False, "shape": (sum(counts),)}
    with (folder / "pdfs.npy").open("wb") as whole, blocks.open("rb") as part:
        np.lib.format.write_array_header_1_0(whole, header)
        shutil.copyfileobj(part, whole)
    blocks.unlink()
    write_array(folder / "frames.npy", np.array(counts, dtype=np.int64))


class AlignmentStore:
    """Read access to the alignments of a set; `utterance_ids` are in the order of writing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.utterance_ids = read_names(folder / "utterances.txt")
        self._pdfs = read_array(folder / "pdfs.npy", mapped=True)
        counts = read_array(folder / "frames.npy")
        if len(counts) != len(self.utterance_ids):
            raise damaged(folder / "utterances.txt", f"{len(self.utterance_ids)} ids, {len(counts)} utterances")
        if counts.ndim != 1 or counts.dtype != np.int64 or (counts < 0).any():
            raise damaged(folder / "frames.npy", "not numbers of frames")
        if self._pdfs.ndim != 1 or self._pdfs.dtype != np.int32:
            raise damaged(folder / "pdfs.npy", "not pdfs of frames")
        if sum(counts.tolist()) != len(self._pdfs):
            raise damaged(folder / "pdfs.npy", f"{len(self._pdfs)} frames, {counts.sum()} in {folder / 'frames.npy'}")
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        self._number = {name: number for number, name in enumerate(self.utterance_ids)}
        self._lines: tuple[mmap.mmap | bytes, np.ndarray] | None = None

    @classmethod
    def open(cls, folder: Path) -> AlignmentStore:
        """Map the store in `folder`."""
        return cls(folder)

    def all_pdfs(self) -> np.ndarray:
        """(frames,) int32 hard labels of all utterances in order, memory-mapped."""
        return self._pdfs

    def pdfs(self, utterance_id: str) -> np.ndarray:
        """(frames,) int32 hard labels of an utterance."""
        number = self._number[utterance_id]
        found = np.asarray(self._pdfs[self._starts[number] : self._ends[number]])
        if found.min(initial=0) < 0:
            raise damaged(self._folder / "pdfs.npy", f"pdfs of {utterance_id} are below 0")
        return found

    def phones(self, utterance_id: str) -> list[PhoneSegment]:
        """Timed phones of an utterance."""
        path = self._folder / "phones.jsonl"
        number = self._number[utterance_id]
        if self._lines is None:
            self._lines = _mapped_lines(path)
        text, ends_of_lines = self._lines
        try:
            line = text[ends_of_lines[number] + 1 : ends_of_lines[number + 1]]
            found = [PhoneSegment(*fields) for fields in json.loads(line)]
            ends = [0, *accumulate(item.num_frames for item in found)]
            starts = [item.start_frame for item in found]
            frames = self._ends[number] - self._starts[number]
            if starts != ends[:-1] or ends != sorted(set(ends)) or ends[-1] != frames:
                raise ValueError(f"the phones of {utterance_id} do not cover its frames")
            if not all(type(item.phone) is str and item.phone for item in found):
                raise ValueError("phones without names")
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            raise damaged(path, error) from error
        return found


def _mapped_lines(path: Path) -> tuple[mmap.mmap | bytes, np.ndarray]:
    """A file, mapped, and (lines + 1,) int64 ends of its lines, before which -1 stands.

    Phones may hold what other methods take for the end of a line.
    """
    with path.open("rb") as file:
        empty = not path.stat().st_size  # which cannot be mapped
        text = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    ends = [np.array([-1], dtype=np.int64)]
    for first in range(0, len(text), _PIECE):
        piece = np.frombuffer(text[first : first + _PIECE], dtype=np.uint8)
        ends.append(first + np.flatnonzero(piece == ord("\n")))
    return text, np.concatenate(ends)
