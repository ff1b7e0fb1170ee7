"""The truth about decoding, without any graph: every word sequence, pronunciation, silence and alignment is tried."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kd_asr.alignment.topology import SILENCE, STATES_PER_PHONE, Topology
from kd_asr.decoding.arpa import END, ArpaModel

Pronunciations = Mapping[str, Sequence[Sequence[str]]]


def alignment_cost(
    scores: np.ndarray, phones: Sequence[str], topology: Topology, scale: float, self_loop_scale: float
) -> tuple[float, float]:
    """(graph, acoustic) costs of the best alignment of all frames with all states in order; graph: loops only."""
    around = zip([SILENCE, *phones], phones, [*phones[1:], SILENCE], strict=False)
    states = [topology.pdf(phone, state, left, right) for left, phone, right in around for state in range(3)]
    frames = len(scores)
    if not states or len(states) > frames:
        return math.inf, math.inf
    best = (math.inf, math.inf, math.inf)
    # Where each state ends: every choice of boundaries between the frames.
    for cuts in itertools.combinations(range(1, frames), len(states) - 1):
        edges = (0, *cuts, frames)
        graph = acoustic = 0.0
        for pdf, first, end in zip(states, edges, edges[1:], strict=False):
            stay = topology.self_loop[pdf]
            graph -= self_loop_scale * ((end - first - 1) * math.log(stay) + math.log(1 - stay))
            acoustic -= float(scores[first:end, pdf].sum())
        best = min(best, (graph + scale * acoustic, graph, acoustic))
    return best[1], best[2]


def sentence_cost(words: Sequence[str], model: ArpaModel) -> float:
    """Negative natural logarithm of the best way through a sentence: a graph may back off where it need not."""

    def best(history: tuple[str, ...], rest: tuple[str, ...]) -> float:
        if not rest:
            return 0.0
        costs = []
        found = model.log_probabilities[len(history)].get(" ".join((*history, rest[0])))
        if found is not None:
            following = (*history, rest[0])[-(model.order - 1) :]
            while " ".join(following) not in model.backoffs and following:
                following = following[1:]
            costs.append(-found * math.log(10) + best(following, rest[1:]))
        if history:
            costs.append(-model.backoffs.get(" ".join(history), 0.0) * math.log(10) + best(history[1:], rest))
        return min(costs)

    return best(("<s>",), (*words, END))


def with_silences(words: Sequence[Sequence[str]], probability: float) -> Iterator[tuple[list[str], float]]:
    """Phones and cost of each choice of silence before, between and after some pronunciations."""
    for places in itertools.product((False, True), repeat=len(words) + 1):
        phones = ["SIL"] if places[0] else []
        for word, silence in zip(words, places[1:], strict=True):
            phones += [*word, *(["SIL"] if silence else [])]
        yield phones, -sum(math.log(probability if silence else 1 - probability) for silence in places)


def best_path_of_each_sentence(
    scores: np.ndarray,
    pronunciations: Pronunciations,
    model: ArpaModel,
    topology: Topology,
    *,
    acoustic_scale: float,
    insertion_penalty: float = 0.0,
    silence_probability: float,
    self_loop_scale: float,
    variant_costs: Mapping[str, Sequence[float]] | None = None,
) -> dict[tuple[str, ...], tuple[float, tuple[str, ...], float, float]]:
    """Of each word sequence total cost, words, graph cost without penalties and acoustic cost before scaling."""
    best: dict[tuple[str, ...], tuple[float, tuple[str, ...], float, float]] = {}
    aligned: dict[tuple[str, ...], tuple[float, float]] = {}
    for length in range(len(scores) // STATES_PER_PHONE + 1):
        for words in itertools.product(sorted(pronunciations), repeat=length):
            if sum(min(map(len, pronunciations[word])) for word in words) * STATES_PER_PHONE > len(scores):
                continue
            language = sentence_cost(words, model)
            costs = variant_costs or {}
            variants = [
                list(zip(pronunciations[word], costs.get(word) or itertools.repeat(0.0), strict=False))
                for word in words
            ]
            for spoken in itertools.product(*variants):
                chosen = sum(cost for _, cost in spoken)
                for phones, silence in with_silences([phones for phones, _ in spoken], silence_probability):
                    key = tuple(phones)
                    if key not in aligned:
                        aligned[key] = alignment_cost(scores, phones, topology, acoustic_scale, self_loop_scale)
                    loops, acoustic = aligned[key]
                    graph = language + chosen + silence + loops
                    total = graph + acoustic_scale * acoustic + insertion_penalty * length
                    if total < math.inf:
                        found = (total, words, graph, acoustic)
                        best[words] = min(best.get(words, found), found)
    return best


def best_path(*arguments: Any, **options: Any) -> tuple[float, tuple[str, ...], float, float]:
    """The same of the best of all paths."""
    return min(best_path_of_each_sentence(*arguments, **options).values())
