"""The state-tying tree: which HMM states of phones in context share a pdf, asked one question after another.

A decision tree for each state of each root, a root being the stress variants of one phone (S. Young, J. Odell,
P. Woodland, "Tree-based state tying for high accuracy acoustic modelling", ARPA Human Language Technology Workshop
1994). A question asks whether the phone itself or the one to its left or right is in a set. Every triphone gets a leaf,
seen in training or not. `kd_asr.alignment.tying` grows trees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Place = Literal["left", "phone", "right"]
PLACES: tuple[Place, ...] = ("left", "phone", "right")


@dataclass(frozen=True)
class Leaf:
    """A tied state: its pdf, and the training frames the tree was grown with."""

    pdf: int
    frames: int


@dataclass(frozen=True)
class Split:
    """Is the phone at `place` in the set named `question`? `gain`: log-likelihood that asking brought, in nats."""

    place: Place
    question: str
    gain: float
    yes: Node
    no: Node


Node = Leaf | Split


@dataclass(frozen=True)
class Root:
    """Phones that begin in the same tree, and that tree for each of their states."""

    phones: tuple[str, ...]
    states: tuple[Node, ...]


@dataclass(frozen=True)
class StateTree:
    """All roots; each phone belongs to one.

    Attributes:
        questions: name of each set to the phones in it.
        roots: their leaves have the pdfs 0, 1, ..., from left to right.
    """

    questions: Mapping[str, tuple[str, ...]]
    roots: tuple[Root, ...]

    @property
    def num_pdfs(self) -> int:
        """Number of leaves."""
        return sum(1 for root in self.roots for node in root.states for _ in leaves(node))

    def table(self, phones: Sequence[str]) -> NDArray[np.int32]:
        """Pdf of every state of every triphone.

        Args:
            phones: those that the axes count.

        Returns:
            (left phones, phones, right phones, states) int32.
        """
        number = {phone: index for index, phone in enumerate(phones)}
        size = len(phones)
        members = {
            name: np.isin(np.arange(size), [number[phone] for phone in asked if phone in number])
            for name, asked in self.questions.items()
        }
        table = np.full((size, size, size, max(len(root.states) for root in self.roots)), -1, dtype=np.int32)

        def fill(node: Node, where: dict[Place, NDArray[np.int64]], state: int) -> None:
            # What reaches a node is always some left phones times some phones times some right phones.
            if isinstance(node, Leaf):
                left, own, right = np.ix_(*(where[place] for place in PLACES))
                table[left, own, right, state] = node.pdf
                return
            said = members[node.question][where[node.place]]
            fill(node.yes, {**where, node.place: where[node.place][said]}, state)
            fill(node.no, {**where, node.place: where[node.place][~said]}, state)

        for root in self.roots:
            phone = np.array([number[phone] for phone in root.phones if phone in number], dtype=np.int64)
            for state, node in enumerate(root.states):
                fill(node, {"left": np.arange(size), "phone": phone, "right": np.arange(size)}, state)
        return table

    def to_json(self) -> dict[str, Any]:
        """Plain lists and mappings, the tree as it is read from top to bottom."""
        return {
            "questions": {name: list(phones) for name, phones in self.questions.items()},
            "roots": [
                {"phones": list(root.phones), "states": [_node_to_json(node) for node in root.states]}
                for root in self.roots
            ],
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> StateTree:
        """The inverse of `to_json`; a missing field is a `KeyError`."""
        return cls(
            {name: tuple(phones) for name, phones in fields["questions"].items()},
            tuple(
                Root(tuple(root["phones"]), tuple(_node_from_json(node) for node in root["states"]))
                for root in fields["roots"]
            ),
        )


def leaves(node: Node) -> Iterator[Leaf]:
    """Those below a node, from left (yes) to right (no)."""
    if isinstance(node, Leaf):
        yield node
    else:
        yield from leaves(node.yes)
        yield from leaves(node.no)


def _node_to_json(node: Node) -> dict[str, Any]:
    if isinstance(node, Leaf):
        return {"pdf": node.pdf, "frames": node.frames}
    return {
        "place": node.place,
        "question": node.question,
        "gain": node.gain,
        "yes": _node_to_json(node.yes),
        "no": _node_to_json(node.no),
    }


def _node_from_json(fields: Mapping[str, Any]) -> Node:
    if "pdf" in fields:
        return Leaf(fields["pdf"], fields["frames"])
    yes, no = _node_from_json(fields["yes"]), _node_from_json(fields["no"])
    return Split(fields["place"], fields["question"], fields["gain"], yes, no)
