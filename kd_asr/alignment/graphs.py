"""Training graphs: all the state sequences that a transcript allows, as a small FST."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import kaldifst
import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.topology import SILENCE, STATES_PER_PHONE, Topology


@dataclass(frozen=True)
class TrainingGraph:
    """The graph of one transcript.

    Attributes:
        fst: input labels are pdf + 1; output labels are 1 + state + 3 * place of the phone in `phones`, on every arc
            that consumes a frame: they tell where phones begin even if neighbouring states share a pdf.
        phones: every phone of every alternative.
        pdfs: (n,) int64, ascending: those that occur in it.
        shortest: frames of the shortest path.
    """

    fst: kaldifst.StdVectorFst
    phones: tuple[str, ...]
    pdfs: NDArray[np.int64]
    shortest: int


class _Builder:
    def __init__(self, topology: Topology) -> None:
        self.fst = kaldifst.StdVectorFst()
        self.topology = topology
        self.phones: list[str] = []

    def chain(self, start: int, end: int, phones: Sequence[str], cost: float) -> None:
        """A pronunciation from one state to another: entering a state consumes its first frame, its loop the rest."""
        state, leaving = start, cost
        for phone in phones:
            self.phones.append(phone)
            for number in range(STATES_PER_PHONE):
                pdf = self.topology.pdf(phone, number)
                label = STATES_PER_PHONE * (len(self.phones) - 1) + number + 1
                following = self.fst.add_state()
                self.fst.add_arc(state, kaldifst.StdArc(pdf + 1, label, leaving, following))
                stay = self.topology.self_loop[pdf]
                self.fst.add_arc(following, kaldifst.StdArc(pdf + 1, label, -math.log(stay), following))
                state, leaving = following, -math.log1p(-stay)
        self.fst.add_arc(state, kaldifst.StdArc(0, 0, leaving, end))

    def optional_silence(self, start: int, probability: float) -> int:
        """Silence or none between `start` and the state that is returned."""
        end = self.fst.add_state()
        self.fst.add_arc(start, kaldifst.StdArc(0, 0, -math.log1p(-probability), end))
        self.chain(start, end, [SILENCE], -math.log(probability))
        return int(end)


def training_graph(
    words: Sequence[str], lexicon: Lexicon, topology: Topology, *, silence_probability: float
) -> TrainingGraph:
    """The graph of a transcript: pronunciations in parallel, optional silence around and between the words.

    Args:
        words: the transcript; a word the lexicon lacks becomes the phone of unknown words.
        lexicon: pronunciations; the variants of a word are equally likely.
        topology: pdfs and loop probabilities.
        silence_probability: of silence at each place where it may stand, 0 < p < 1.
    """
    builder = _Builder(topology)
    start = builder.fst.add_state()
    builder.fst.start = start
    here = builder.optional_silence(start, silence_probability)
    shortest = 0
    for word in words:
        variants = lexicon.variants(word)
        end = builder.fst.add_state()
        for phones in variants:
            builder.chain(here, end, phones, math.log(len(variants)))
        shortest += STATES_PER_PHONE * min(map(len, variants))
        here = builder.optional_silence(end, silence_probability)
    builder.fst.set_final(here, 0.0)
    pdfs = {topology.pdf(phone, state) for phone in set(builder.phones) for state in range(STATES_PER_PHONE)}
    return TrainingGraph(builder.fst, tuple(builder.phones), np.array(sorted(pdfs), dtype=np.int64), shortest)
