"""The state-tying tree, which decides by questions which HMM states of phones in context share a pdf.

There is a decision tree for each state of each root; a root is the variants of a phone in stress and position (S.
Young, J. Odell, P. Woodland, "Tree-based state tying for high accuracy acoustic modelling", ARPA Human Language
Technology Workshop 1994). A question asks whether the phone itself or the one to its left or right is in a set. Every
triphone gets a leaf, seen in training or not. `kd_asr.alignment.tying` grows trees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

Place = Literal["left", "phone", "right"]
PLACES: tuple[Place, ...] = ("left", "phone", "right")


@dataclass(frozen=True)
class Leaf:
    """A tied state: its pdf, and the number of its training frames."""

    pdf: int
    frames: int


@dataclass(frozen=True)
class Split:
    """A question: is the phone at `place` in the set named `question`? `gain` is the increase in log-likelihood, in
    nats."""

    place: Place
    question: str
    gain: float
    yes: Node
    no: Node


Node = Leaf | Split


@dataclass(frozen=True)
class Root:
    """Phones that share their trees, and the tree of each of their states."""

    phones: tuple[str, ...]
    states: tuple[Node, ...]


@dataclass(frozen=True)
class StateTree:
    """All roots; each phone belongs to exactly one.

    Attributes:
        questions: Name of each set of phones, and its phones.
        roots: Roots, whose leaves have the pdfs 0, 1, ... from left to right.
    """

    questions: Mapping[str, tuple[str, ...]]
    roots: tuple[Root, ...]

    @property
    def num_pdfs(self) -> int:
        """Number of leaves."""
        return sum(1 for root in self.roots for node in root.states for _ in leaves(node))

    def pdfs(self, left: str, phone: str, right: str) -> tuple[int, ...]:
        """Pdf of every state of a triphone, whose phone must belong to a root."""
        asked: dict[Place, str] = {"left": left, "phone": phone, "right": right}

        def leaf(node: Node) -> Leaf:
            while isinstance(node, Split):
                node = node.yes if asked[node.place] in self._members[node.question] else node.no
            return node

        return tuple(leaf(node).pdf for node in self._root_of[phone].states)

    @cached_property
    def _root_of(self) -> dict[str, Root]:
        return {phone: root for root in self.roots for phone in root.phones}

    @cached_property
    def _members(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(phones) for name, phones in self.questions.items()}

    def to_json(self) -> dict[str, Any]:
        """The tree as plain lists and mappings."""
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
    """Leaves below a node, from left (yes) to right (no)."""
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
