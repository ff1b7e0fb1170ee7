"""The best few word sequences of an utterance, from the lattice of its search, and what another language model says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import kaldifst

from kd_asr.decoding.arpa import BEGIN, END, ArpaModel


@dataclass(frozen=True)
class Alternative:
    """A word sequence.

    Attributes:
        words: of it.
        cost: of its best path: graph, insertion penalties and scaled acoustic cost, in nats.
    """

    words: tuple[str, ...]
    cost: float


def alternatives_of(lattice: kaldifst.Lattice, names: Sequence[str], count: int) -> list[Alternative]:
    """The `count` cheapest word sequences, all different, the cheapest first; fewer where the lattice has fewer.

    Args:
        lattice: a raw lattice, states in time: its output labels are words.
        names: of the words, by label.
        count: sequences wanted.
    """
    acceptor = _word_acceptor(lattice)
    if acceptor is None:
        return []
    # Determinised, every word sequence is one path, with the cost of the cheapest of the paths it had.
    kaldifst.determinize_star(acceptor)
    found = []
    for path in kaldifst.convert_nbest_to_vector(kaldifst.shortest_path(acceptor, n=count)):
        _, _, labels, weight = kaldifst.get_linear_symbol_sequence(path)
        found.append(Alternative(tuple(names[label] for label in labels), weight.value))
    return sorted(found, key=lambda one: one.cost)


def _word_acceptor(lattice: kaldifst.Lattice) -> kaldifst.StdVectorFst | None:
    """The lattice as an acceptor of words, its two costs added; None for one without states."""
    lines = [line.split() for line in lattice.to_str().splitlines()]
    if not lines:
        return None
    acceptor = kaldifst.StdVectorFst()
    for _ in range(lattice.num_states):
        acceptor.add_state()
    acceptor.start = int(lines[0][0])  # what is printed first is the start
    arc_fields = 4  # from, to, input, output; then the weight, unless it is 1
    for fields in lines:
        is_arc = len(fields) >= arc_fields
        weight = fields[arc_fields if is_arc else 1 :]
        cost = sum(map(float, weight[0].split(","))) if weight else 0.0
        if is_arc:
            word = int(fields[3])
            arc = kaldifst.StdArc(ilabel=word, olabel=word, weight=cost, nextstate=int(fields[1]))
            acceptor.add_arc(state=int(fields[0]), arc=arc)
        else:
            acceptor.set_final(state=int(fields[0]), weight=cost)
    return acceptor


def sentence_cost(model: ArpaModel, words: Sequence[str], *, instead: ArpaModel | None = None) -> float:
    """-log p of a sentence with its end, in nats.

    Args:
        model: of the language.
        words: the sentence.
        instead: says how probable a word is that `model` lacks; without it such a word is an error.

    Raises:
        KeyError: neither model has a word.
    """
    history = [BEGIN]
    total = 0.0
    for word in (*words, END):
        speaks = model if instead is None or word in model.log_probabilities[0] else instead
        total += speaks.log10_probability(word, history)
        history.append(word)
    return -total * math.log(10.0)


def rescored(
    alternatives: Sequence[Alternative], old: ArpaModel, new: ArpaModel, weight: float
) -> list[Alternative]:
    """The same sequences with a share of the language model's cost from another model, the cheapest first.

    Args:
        alternatives: with costs in which the model `old` has weight 1.
        old: of the decoding graph.
        new: of the same language, usually larger; words it lacks keep the old model's probability.
        weight: of the new model, 0..1; the old one keeps the rest.
    """
    if weight == 0.0:
        return list(alternatives)
    moved = [
        Alternative(
            one.words,
            one.cost + weight * (sentence_cost(new, one.words, instead=old) - sentence_cost(old, one.words)),
        )
        for one in alternatives
    ]
    return sorted(moved, key=lambda one: one.cost)
