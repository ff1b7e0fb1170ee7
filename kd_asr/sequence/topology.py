"""One-state topology of sequence training: a phone can be passed in one output frame (Povey and others, Interspeech
2016, section 2.3).

Output frames are three frames of the features apart. A phone's first output frame has its first pdf, all others its
second one; after each it ends with probability 1/2. Both pdfs depend on the phone and the one to its left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import SILENCE
from kd_asr.alignment.tree import StateTree
from kd_asr.artifacts import damaged, read_json, write_json

# Distance of output frames, in frames of the features.
FRAME_STRIDE = 3
STATES = 2
# Probability that a phone goes on for one more output frame.
STAY = 0.5


@dataclass(frozen=True)
class OneStateTopology:
    """Two pdfs for each phone, or tied ones for each phone and the one to its left.

    Attributes:
        phones: Phones, `SIL` first.
        tree: Tree with two states, which asks nothing about the phone to the right; None for monophones.
    """

    phones: tuple[str, ...]
    tree: StateTree | None = None

    @property
    def num_pdfs(self) -> int:
        """Number of pdfs, the classes of an acoustic model."""
        return self.tree.num_pdfs if self.tree is not None else STATES * len(self.phones)

    def pdfs(self, phone: str, left: str) -> tuple[int, int]:
        """Pdf of the first output frame of a phone, and of its others."""
        found = self._known.get((phone, left))
        if found is None:
            if self.tree is None:
                number = self._number[phone]
                found = STATES * number, STATES * number + 1
            else:
                first, others = self.tree.pdfs(left, phone, SILENCE)
                found = first, others
            self._known[phone, left] = found
        return found

    def states(self, phone: str, left: str) -> tuple[tuple[int, int, float]]:
        """The one state of a phone: its two pdfs, and the probability of staying; see `alignment.graphs`."""
        return ((*self.pdfs(phone, left), STAY),)

    @cached_property
    def _known(self) -> dict[tuple[str, str], tuple[int, int]]:
        return {}

    @cached_property
    def _number(self) -> dict[str, int]:
        return {phone: number for number, phone in enumerate(self.phones)}

    def labels(self, segments: Sequence[PhoneSegment]) -> NDArray[np.int32]:
        """(frames,) int32 pdf of every frame of the features.

        Of every third frame, from whichever one on, these are the pdfs of a path through the phones: the first of a
        phone's frames that is among them has its first pdf, if it is not longer than its first three.
        """
        found = [np.zeros(0, dtype=np.int32)]
        left = SILENCE
        for item in segments:
            first, others = self.pdfs(item.phone, left)
            of_phone = np.full(item.num_frames, others, dtype=np.int32)
            of_phone[:FRAME_STRIDE] = first
            found.append(of_phone)
            left = item.phone
        return np.concatenate(found)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, {"phones": list(self.phones), "tree": self.tree.to_json() if self.tree else None})

    @classmethod
    def load(cls, path: Path) -> OneStateTopology:
        """Read what `save` wrote.

        Raises:
            UserError: the file is damaged.
        """
        fields = read_json(path)
        try:
            tree = StateTree.from_json(fields["tree"]) if fields["tree"] is not None else None
            phones = tuple(map(str, fields["phones"]))
            if tree is not None and any(len(root.states) != STATES for root in tree.roots):
                raise ValueError("a tree that has not two states")
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise damaged(path, error) from error
        return cls(phones, tree)
