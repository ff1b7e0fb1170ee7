"""Topology of the hidden Markov models: the pdf of each state of each phone, and the probability of staying in it.

A phone is a left-to-right chain of three emitting states, each with a loop on itself. Graphs carry pdf + 1 as input
labels, 0 is epsilon.

A phone may be marked with its position in the word, as in Kaldi: AH0_B, _I and _E at a word's beginning, inside and
end, and AH0_S alone. Before states are tied, all positions have the same pdfs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.tree import StateTree
from kd_asr.artifacts import damaged, read_json, write_json

SILENCE = "SIL"
UNKNOWN_PHONE = "SPN"
STATES_PER_PHONE = 3
POSITIONS = "BIES"
_POSITION = re.compile(f"_[{POSITIONS}]$")


def without_position(phone: str) -> str:
    """A phone without its position in the word: `IH1_B` is `IH1`."""
    return _POSITION.sub("", phone)


@dataclass(frozen=True)
class Topology:
    """Monophone states, each with a pdf of its own, or tied states of triphones.

    Attributes:
        phones: Phones, `SIL` first.
        self_loop: (num_pdfs,) probability of staying in the state for one more frame.
        tree: Tree that ties the states of triphones; None for monophones.
    """

    phones: tuple[str, ...]
    self_loop: tuple[float, ...]
    tree: StateTree | None = None

    @classmethod
    def uniform(cls, phones: tuple[str, ...], self_loop: float = 0.7, tree: StateTree | None = None) -> Topology:
        """A topology with the same loop probability everywhere, for a flat start."""
        num_pdfs = tree.num_pdfs if tree else STATES_PER_PHONE * len(set(map(without_position, phones)))
        return cls(phones, (self_loop,) * num_pdfs, tree)

    @property
    def num_pdfs(self) -> int:
        """Number of pdfs, the classes of an acoustic model."""
        return len(self.self_loop)

    def pdf(self, phone: str, state: int, left: str = SILENCE, right: str = SILENCE) -> int:
        """Pdf of a phone's state 0, 1 or 2 between two other phones, which monophones ignore."""
        return self.pdfs(phone, left, right)[state]

    def pdfs(self, phone: str, left: str = SILENCE, right: str = SILENCE) -> tuple[int, ...]:
        """Pdfs of all states of a phone between two other phones."""
        if self.tree is None:
            first = STATES_PER_PHONE * self._number[phone]
            return tuple(range(first, first + STATES_PER_PHONE))
        triphone = left, phone, right
        if triphone not in self._triphones:
            self._triphones[triphone] = self.tree.pdfs(*triphone)
        return self._triphones[triphone]

    @cached_property
    def _triphones(self) -> dict[tuple[str, str, str], tuple[int, ...]]:
        """Cache of the pdfs of triphones."""
        return {}

    @cached_property
    def _number(self) -> dict[str, int]:
        """Number of each phone as a monophone, without its position."""
        monophones = {name: number for number, name in enumerate(dict.fromkeys(map(without_position, self.phones)))}
        return {phone: monophones[without_position(phone)] for phone in self.phones}

    def with_self_loop(self, self_loop: NDArray[np.floating]) -> Topology:
        """The same phones with other loop probabilities, (num_pdfs,)."""
        return Topology(self.phones, tuple(float(value) for value in self_loop), self.tree)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        fields: dict[str, Any] = {"phones": list(self.phones), "self_loop": list(self.self_loop)}
        if self.tree is not None:
            fields["tree"] = self.tree.to_json()
        write_json(path, fields)

    @classmethod
    def load(cls, path: Path) -> Topology:
        """Read what `save` wrote; a damaged file is a `UserError`."""
        fields = read_json(path)
        try:
            tree = StateTree.from_json(fields["tree"]) if "tree" in fields else None
            found = cls(tuple(fields["phones"]), tuple(float(value) for value in fields["self_loop"]), tree)
        except KeyError as error:
            raise damaged(path, f"no {error}") from error
        except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise damaged(path, error) from error
        _check(path, found)
        return found


def _check(path: Path, found: Topology) -> None:
    """Raise a `UserError` if a file holds what is no topology."""
    names = found.phones
    if not names or not all(type(phone) is str and phone for phone in names) or len(set(names)) < len(names):
        raise damaged(path, "not a list of different phones")
    if not all(0 < value < 1 for value in found.self_loop):
        raise damaged(path, "loop probabilities that are none")
    wanted = found.tree.num_pdfs if found.tree else STATES_PER_PHONE * len(set(map(without_position, names)))
    if wanted != found.num_pdfs:
        raise damaged(path, f"{found.num_pdfs} loop probabilities of {wanted} pdfs")
