"""Training graphs: which label sequences they accept, and at which cost."""

from __future__ import annotations

import math
from itertools import product

import kaldifst
import numpy as np
import pytest
from conftest import random_tree

from kd_asr.alignment.graphs import TrainingGraph, training_graph
from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.topology import Topology

PHONES = ("SIL", "SPN", "A", "B")
LEXICON = Lexicon({"A": (("A",),), "AB": (("A", "B"), ("B",)), "ABC": (("A", "B", "A", "A"), ("B", "A", "B"))})


def _topology() -> Topology:
    return Topology(PHONES, tuple(0.3 + 0.05 * pdf for pdf in range(12)))


def _cost(graph: TrainingGraph, pdfs: list[int]) -> float:
    """Cost of the cheapest path with these input labels, by trying all arcs; infinite without one."""
    fst = graph.fst
    reached = {fst.start: 0.0}

    def follow_epsilons(costs: dict[int, float]) -> dict[int, float]:
        stack = list(costs)
        while stack:
            state = stack.pop()
            for arc in kaldifst.ArcIterator(fst, state):
                total = costs[state] + arc.weight.value
                if arc.ilabel == 0 and total < costs.get(arc.nextstate, math.inf):
                    costs[arc.nextstate] = total
                    stack.append(arc.nextstate)
        return costs

    follow_epsilons(reached)
    for pdf in pdfs:
        following: dict[int, float] = {}
        for state, cost in reached.items():
            for arc in kaldifst.ArcIterator(fst, state):
                if arc.ilabel == pdf + 1:
                    total = cost + arc.weight.value
                    following[arc.nextstate] = min(total, following.get(arc.nextstate, math.inf))
        reached = follow_epsilons(following)
    return min((cost + fst.final(state).value for state, cost in reached.items()), default=math.inf)


def _expected(pdfs: list[int], *, topology: Topology, pronunciation: float, silences: list[bool]) -> float:
    """Cost of a sequence in which every state is left once, with silence taken or not at each place."""
    cost = -math.log(pronunciation)
    for position, pdf in enumerate(pdfs):
        stays = position + 1 < len(pdfs) and pdfs[position + 1] == pdf
        cost -= math.log(topology.self_loop[pdf] if stays else 1 - topology.self_loop[pdf])
    return cost - sum(math.log(0.2 if taken else 0.8) for taken in silences)


@pytest.mark.parametrize(("pdfs", "pronunciation"), [([6, 7, 8, 9, 10, 11], 0.9), ([9, 10, 11], 0.1)])
def test_variants_cost_what_their_probabilities_say(pdfs: list[int], pronunciation: float) -> None:
    lexicon = Lexicon(LEXICON.pronunciations, {"AB": (0.0, math.log(9))})
    graph = training_graph(["AB"], lexicon, _topology(), silence_probability=0.2)
    expected = _expected(pdfs, topology=_topology(), pronunciation=pronunciation, silences=[False, False])
    assert _cost(graph, pdfs) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("pdfs", "pronunciation", "silences"),
    [
        ([6, 7, 8, 9, 10, 11], 0.5, [False, False]),
        ([6, 6, 7, 8, 8, 8, 9, 10, 11], 0.5, [False, False]),
        ([9, 10, 11], 0.5, [False, False]),
        ([0, 1, 2, 9, 10, 11], 0.5, [True, False]),
        ([0, 1, 1, 2, 9, 10, 11, 0, 1, 2], 0.5, [True, True]),
    ],
)
def test_costs_are_those_of_loops_pronunciations_and_silences(
    pdfs: list[int], pronunciation: float, silences: list[bool]
) -> None:
    topology = _topology()
    graph = training_graph(["AB"], LEXICON, topology, silence_probability=0.2)
    expected = _expected(pdfs, topology=topology, pronunciation=pronunciation, silences=silences)
    assert _cost(graph, pdfs) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("pdfs", [[6, 7, 8], [6, 8], [9, 10], [9, 10, 11, 9, 10, 11], [0, 1, 2], [11, 10, 9], []])
def test_nothing_else_is_accepted(pdfs: list[int]) -> None:
    graph = training_graph(["AB"], LEXICON, _topology(), silence_probability=0.2)
    assert _cost(graph, pdfs) == math.inf


def test_probabilities_of_all_sequences_sum_to_one() -> None:
    """A graph with its loops is a probability over sequences: short of the longest ones, everything is there."""
    topology = Topology(PHONES, (0.01,) * 12)
    graph = training_graph(["A"], LEXICON, topology, silence_probability=0.3)
    total = 0.0
    for left, right in product((False, True), repeat=2):
        states = [0, 1, 2] * left + [6, 7, 8] + [0, 1, 2] * right
        for repeats in product((1, 2), repeat=len(states)):
            total += math.exp(
                -_cost(graph, [state for state, count in zip(states, repeats, strict=True) for _ in range(count)])
            )
    assert total == pytest.approx(1.0, abs=2e-3)


def test_shortest_path_and_what_occurs() -> None:
    graph = training_graph(["A", "AB", "A"], LEXICON, _topology(), silence_probability=0.5)
    assert graph.shortest == 9
    assert graph.pdfs.tolist() == [0, 1, 2, 6, 7, 8, 9, 10, 11]
    assert graph.phones == ("SIL", "A", "SIL", "A", "B", "B", "SIL", "A", "SIL")


def test_unknown_words_are_the_unknown_phone() -> None:
    graph = training_graph(["ZZZ"], LEXICON, _topology(), silence_probability=0.5)
    assert math.isfinite(_cost(graph, [3, 4, 5]))
    assert graph.shortest == 3


def _paths_without_loops(graph: TrainingGraph) -> dict[tuple[int, ...], float]:
    """Cost, without that of loops, of the cheapest path for every sequence of (pdf, phone, state) that has one."""
    fst, found = graph.fst, {}
    stack = [(fst.start, (), 0.0)]
    while stack:
        state, said, cost = stack.pop()
        if math.isfinite(fst.final(state).value):
            found[said] = min(cost, found.get(said, math.inf))
        for arc in kaldifst.ArcIterator(fst, state):
            if arc.nextstate == state:
                continue
            entered = (
                ((arc.ilabel - 1, graph.phones[(arc.olabel - 1) // 3], (arc.olabel - 1) % 3),) if arc.ilabel else ()
            )
            stack.append((arc.nextstate, said + entered, cost + arc.weight.value))
    return found


def _by_brute_force(words: list[str], topology: Topology, silence: float) -> dict[tuple[int, ...], float]:
    """The same from every choice of pronunciations and silences, written out as triphones."""
    found: dict[tuple[int, ...], float] = {}
    variants = [LEXICON.variants(word) for word in words]
    for spoken in product(*variants):
        for silences in product((False, True), repeat=len(words) + 1):
            phones = ["SIL"] * silences[0]
            for word, silent in zip(spoken, silences[1:], strict=True):
                phones += [*word, *["SIL"] * silent]
            cost = sum(math.log(len(choices)) for choices in variants)
            cost -= sum(math.log(silence if silent else 1 - silence) for silent in silences)
            said = []
            for left, phone, right in zip(["SIL", *phones], phones, [*phones[1:], "SIL"], strict=False):
                for state in range(3):
                    pdf = topology.pdf(phone, state, left, right)
                    said.append((pdf, phone, state))
                    cost -= math.log1p(-topology.self_loop[pdf])
            found[tuple(said)] = min(cost, found.get(tuple(said), math.inf))
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("words", [["A"], ["A", "AB"], ["AB", "AB", "A"], ["ABC", "ZZZ", "AB"]])
def test_triphones_are_those_of_all_pronunciations_and_silences_written_out(words: list[str], seed: int) -> None:
    tree = random_tree(PHONES, seed)
    loops = np.random.default_rng(seed).uniform(0.2, 0.8, tree.num_pdfs)
    topology = Topology.uniform(PHONES, tree=tree).with_self_loop(loops)
    graph = training_graph(words, LEXICON, topology, silence_probability=0.2)
    found, expected = _paths_without_loops(graph), _by_brute_force(words, topology, 0.2)
    assert found.keys() == expected.keys()
    for said, cost in expected.items():
        assert found[said] == pytest.approx(cost, rel=1e-5)
    assert graph.pdfs.tolist() == sorted({pdf for said in expected for pdf, _, _ in said})
    assert graph.shortest == min(map(len, expected))


def test_monophones_written_out_are_the_graph() -> None:
    words = ["AB", "ABC", "A"]
    found = _paths_without_loops(training_graph(words, LEXICON, _topology(), silence_probability=0.2))
    expected = _by_brute_force(words, _topology(), 0.2)
    assert found == {said: pytest.approx(cost, rel=1e-5) for said, cost in expected.items()}
