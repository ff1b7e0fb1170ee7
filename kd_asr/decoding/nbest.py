"""The best word sequences of an utterance, from the lattice of its search, and rescoring with a language model."""

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
        words: The words.
        cost: Cost of the best path: graph, insertion penalties and scaled acoustic cost, in nats.
    """

    words: tuple[str, ...]
    cost: float


def alternatives_of(lattice: kaldifst.Lattice, names: Sequence[str], count: int) -> list[Alternative]:
    """The `count` cheapest word sequences, all different, the cheapest first; fewer where the lattice has fewer.

    Args:
        lattice: raw lattice, states in order of time; its output labels are words.
        names: words by label.
        count: largest number of sequences.
    """
    acceptor = _word_acceptor(lattice)
    if acceptor is None:
        return []
    # After determinisation every word sequence is a single path, with the cost of its cheapest one.
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
    acceptor.start = int(lines[0][0])  # the first state printed is the start
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
        model: language model.
        words: the sentence.
        instead: model for words that `model` lacks; without it such a word is an error.

    Raises:
        KeyError: a word is in neither model.
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
    """The sequences with a share of the language model's cost replaced by another model's, the cheapest first.

    Args:
        alternatives: sequences with costs in which the model `old` has weight 1.
        old: language model of the decoding graph.
        new: another model, usually larger; words that it lacks keep the old model's probability.
        weight: weight of the new model, 0..1; the old model has 1 - `weight`.
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
