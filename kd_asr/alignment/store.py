"""Alignments on disk: the pdf and the phone of every frame of a set.

A store is a folder: `utterances.txt` (one id per line), `frames.npy` (frames of each utterance), `pdfs.npy` (all
frames, utterance after utterance, int32) and `phones.jsonl` (one list of `[phone, first frame, frames]` per utterance).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from kd_asr.artifacts import damaged, read_array, read_names, write_array


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


def write_alignments(folder: Path, alignments: Sequence[Alignment]) -> None:
    """Write a store; the order is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    pdfs = [alignment.pdfs.astype(np.int32) for alignment in alignments]
    write_array(folder / "pdfs.npy", np.concatenate(pdfs) if pdfs else np.zeros(0, np.int32))
    write_array(folder / "frames.npy", np.array([len(block) for block in pdfs], dtype=np.int64))
    names = "".join(f"{alignment.utterance_id}\n" for alignment in alignments)
    (folder / "utterances.txt").write_text(names, encoding="utf-8")
    with (folder / "phones.jsonl").open("w", encoding="utf-8") as file:
        for alignment in alignments:
            segments = [[item.phone, item.start_frame, item.num_frames] for item in alignment.phones]
            file.write(json.dumps(segments) + "\n")


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
        self._phones: list[bytes] | None = None

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
        if self._phones is None:
            # Phones may hold what other methods take for the end of a line.
            self._phones = path.read_bytes().split(b"\n")
        try:
            found = [PhoneSegment(*fields) for fields in json.loads(self._phones[number])]
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
