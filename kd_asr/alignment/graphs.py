"""Training graphs: all the state sequences that a transcript allows, as a small FST."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

import kaldifst
import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.topology import SILENCE, STATES_PER_PHONE, Topology


class ChainTopology(Protocol):
    """HMMs of which a phone is a chain of states whose loop may have another pdf than the way in."""

    @property
    def tree(self) -> object | None:
        """None where pdfs do not depend on context."""
        ...

    def states(self, phone: str, left: str) -> tuple[tuple[int, int, float], ...]:
        """Of each state of a phone after another one: pdf of its first frame, pdf of its others, probability of
        staying."""
        ...


_State = tuple[int, int, float]


def _states(topology: Topology | ChainTopology, phone: str, left: str, right: str) -> tuple[_State, ...]:
    if isinstance(topology, Topology):
        return tuple((pdf, pdf, topology.self_loop[pdf]) for pdf in topology.pdfs(phone, left, right))
    return topology.states(phone, left)


@dataclass(frozen=True)
class TrainingGraph:
    """The graph of one transcript.

    Attributes:
        fst: Graph whose arcs that consume a frame have the input label pdf + 1 and the output label
            1 + state + 3 * place of the phone in `phones`, which shows where phones begin even if neighbouring states
            share a pdf.
        phones: All phones of all alternatives.
        words: For each phone the place of its word in the transcript, -1 for silence between words.
        pdfs: (n,) int64, pdfs that occur in the graph, ascending.
        shortest: Number of frames of the shortest path.
    """

    fst: kaldifst.StdVectorFst
    phones: tuple[str, ...]
    words: tuple[int, ...]
    pdfs: NDArray[np.int64]
    shortest: int


@dataclass(frozen=True)
class _PhoneArc:
    """An arc from one node of a transcript to another; `phone` is None for epsilon, `word` is -1 between words."""

    start: int
    end: int
    phone: str | None
    cost: float
    word: int = -1


@dataclass
class _Transcript:
    """A transcript as phones between nodes; node 0 is its beginning.

    Attributes:
        items: Arcs in topological order, and nodes at which paths meet, each before its first arc.
        nodes: Number of nodes; those that are not among the items are inside a pronunciation.
    """

    items: list[_PhoneArc | int] = field(default_factory=list)
    nodes: int = 1

    @property
    def end(self) -> int:
        """The last node."""
        last = self.items[-1]
        return last if isinstance(last, int) else last.end

    def node(self) -> int:
        """A new node at which paths may meet."""
        self.items.append(self._new())
        return self.nodes - 1

    def _new(self) -> int:
        self.nodes += 1
        return self.nodes - 1

    def pronunciation(self, start: int, end: int, phones: Sequence[str], cost: float, word: int = -1) -> None:
        """Phones of a word, or of silence, from one node to another."""
        for place, phone in enumerate(phones, start=1):
            following = end if place == len(phones) else self._new()
            self.items.append(_PhoneArc(start, following, phone, cost, word))
            start, cost = following, 0.0

    def optional_silence(self, start: int, probability: float) -> int:
        """Add optional silence after `start`; return the node behind it."""
        end = self.node()
        self.items.append(_PhoneArc(start, end, None, -math.log1p(-probability)))
        self.pronunciation(start, end, [SILENCE], -math.log(probability))
        return end

    def contexts(self) -> tuple[list[list[str]], list[list[str]]]:
        """Phones that may come right before and right after each node; silence at the two ends of the utterance."""
        before: list[dict[str, None]] = [{} for _ in range(self.nodes)]
        after: list[dict[str, None]] = [{} for _ in range(self.nodes)]
        before[0][SILENCE] = after[self.end][SILENCE] = None
        arcs = [item for item in self.items if isinstance(item, _PhoneArc)]
        for arc in arcs:
            before[arc.end].update(before[arc.start] if arc.phone is None else {arc.phone: None})
        for arc in reversed(arcs):
            after[arc.start].update(after[arc.end] if arc.phone is None else {arc.phone: None})
        return [list(phones) for phones in before], [list(phones) for phones in after]


class _Builder:
    """Expansion of phones to states: where pdfs depend on context, a node has a copy for each pair of phones around
    it."""

    def __init__(self, transcript: _Transcript, topology: Topology | ChainTopology) -> None:
        self.fst = kaldifst.StdVectorFst()
        self.topology = topology
        self.phones: list[str] = []
        self.words: list[int] = []
        self.pdfs: set[int] = set()
        self._states: dict[tuple[int, str, str], int] = {}
        self._leaving: dict[int, float] = {}  # cost of leaving the last state of a phone that ends in a node
        one_copy = [[SILENCE]] * transcript.nodes
        self._before, self._after = (one_copy, one_copy) if topology.tree is None else transcript.contexts()
        # Nothing leads to the start: its copies are one state.
        self.fst.start = self.fst.add_state()
        self._states |= {(0, SILENCE, right): self.fst.start for right in self._after[0]}
        for item in transcript.items:
            if isinstance(item, int):
                for left, right in product(self._before[item], self._after[item]):
                    self._states[item, left, right] = self.fst.add_state()
            elif item.phone is None:
                self._epsilon(item)
            else:
                self.phones.append(item.phone)
                self.words.append(item.word)
                self._phone(item, item.phone)
        end = transcript.end
        for left, right in product(self._before[end], self._after[end]):
            self.fst.set_final(self._states[end, left, right], 0.0)

    def _epsilon(self, arc: _PhoneArc) -> None:
        for left, right in product(self._before[arc.start], self._after[arc.end]):
            source, target = self._states[arc.start, left, right], self._states[arc.end, left, right]
            self.fst.add_arc(source, kaldifst.StdArc(0, 0, arc.cost, target))

    def _phone(self, arc: _PhoneArc, phone: str) -> None:
        """Add a chain of states for each sequence of states that the phone has in its contexts."""
        meets = SILENCE if self.topology.tree is None else phone
        chains: dict[tuple[_State, ...], tuple[dict[str, None], dict[str, None]]] = {}
        for left, right in product(self._before[arc.start], self._after[arc.end]):
            lefts, rights = chains.setdefault(_states(self.topology, phone, left, right), ({}, {}))
            lefts[left] = rights[right] = None
        for states, (lefts, rights) in chains.items():
            # Questions concern left or right alone, so any of these lefts with any of these rights has these states.
            last = self._chain([self._states[arc.start, left, meets] for left in lefts], states, arc.cost)
            for right in rights:
                end = (arc.end, meets, right)
                if end not in self._states:
                    if len(chains) == 1:  # nothing else leads there
                        self._states[end] = last
                        continue
                    self._states[end] = self.fst.add_state()
                self.fst.add_arc(last, kaldifst.StdArc(0, 0, self._leaving[last], self._states[end]))

    def _chain(self, sources: Sequence[int], states: Sequence[_State], cost: float) -> int:
        """Add the states of a phone: entering a state consumes its first frame, its loop all others."""
        leaving = [self._leaving.get(source, 0.0) + cost for source in sources]
        for number, (pdf, others, stay) in enumerate(states):
            self.pdfs |= {pdf, others}
            label = STATES_PER_PHONE * (len(self.phones) - 1) + number + 1
            state = int(self.fst.add_state())
            for source, weight in zip(sources, leaving, strict=True):
                self.fst.add_arc(source, kaldifst.StdArc(pdf + 1, label, weight, state))
            self.fst.add_arc(state, kaldifst.StdArc(others + 1, label, -math.log(stay), state))
            sources, leaving = [state], [-math.log1p(-stay)]
        self._leaving[state] = leaving[0]
        return state


def training_graph(
    words: Sequence[str], lexicon: Lexicon, topology: Topology | ChainTopology, *, silence_probability: float
) -> TrainingGraph:
    """The graph of a transcript: pronunciations in parallel, optional silence around and between the words.

    Args:
        words: the transcript; a word the lexicon lacks becomes the phone of unknown words.
        lexicon: pronunciations; the variants of a word are equally likely, unless it says otherwise.
        topology: pdfs and loop probabilities.
        silence_probability: probability of silence at each place where it is optional, 0 < p < 1.
    """
    transcript = _Transcript()
    here = transcript.optional_silence(0, silence_probability)
    shortest, states = 0, len(_states(topology, SILENCE, SILENCE, SILENCE))
    for place, word in enumerate(words):
        variants = lexicon.variants(word)
        end = transcript.node()
        costs = lexicon.variant_costs(word)
        total = math.log(sum(math.exp(-cost) for cost in costs))
        for phones, cost in zip(variants, costs, strict=True):
            transcript.pronunciation(here, end, phones, cost + total, place)
        shortest += states * min(map(len, variants))
        here = transcript.optional_silence(end, silence_probability)
    built = _Builder(transcript, topology)
    pdfs = np.array(sorted(built.pdfs), dtype=np.int64)
    return TrainingGraph(built.fst, tuple(built.phones), tuple(built.words), pdfs, shortest)
