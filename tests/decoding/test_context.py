"""Graphs of triphones, against every sentence of a small language written out as triphones."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import random_tree
from every_path import best_path, sentence_cost, with_silences

from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.topology import Topology
from kd_asr.alignment.tree import Leaf, Root, StateTree
from kd_asr.decoding.arpa import write_arpa
from kd_asr.decoding.decoder import Decoder, Search, penalised
from kd_asr.decoding.fst_arrays import FstArrays, write_fst
from kd_asr.decoding.graph import GRAPH_FILE, WORDS_FILE, decoding_graph, write_words
from kd_asr.decoding.ngram import estimate_ngrams

PHONES = ("SIL", "X", "Y0", "Y1")
# Homophones (A, C), a word that begins another (A, B), variants (D), and words that differ in stress alone (B, E).
PRONUNCIATIONS = {"A": (("X",),), "B": (("X", "Y0"),), "C": (("X",),), "D": (("Y1",), ("X", "X")), "E": (("X", "Y1"),)}
SENTENCES = ["A B", "C", "D A", "B B D", "C D", "D A E", "A", "E A", "E E"]
SILENCE = 0.3
LOOPS = 0.1

Costs = dict[tuple[tuple[str, ...], tuple[int, ...]], float]


def language_model():
    return estimate_ngrams([sentence.split() for sentence in SENTENCES], 3)


def topology(seed: int) -> Topology:
    tree = random_tree(PHONES, seed)
    loops = np.random.default_rng(seed).uniform(0.3, 0.9, tree.num_pdfs)
    return Topology.uniform(PHONES, tree=tree).with_self_loop(loops)


def build(folder, made: Topology) -> tuple[FstArrays, list[str]]:
    write_arpa(folder / "lm.arpa", language_model())
    return decoding_graph(
        Lexicon(PRONUNCIATIONS), folder / "lm.arpa", made, silence_probability=SILENCE, self_loop_scale=LOOPS
    )


def paths_without_loops(fst: FstArrays, words: list[str], longest: int) -> Costs:
    """Cost of the cheapest path for each pair of words and pdfs, up to `longest` of these; loops are not taken."""
    arcs_of: dict[int, list[tuple[int, int, float, int]]] = {}
    for source, arc in zip(fst.sources.tolist(), fst.arcs.tolist(), strict=True):
        if not (arc[0] and arc[3] == source):
            arcs_of.setdefault(source, []).append(arc)
    found: Costs = {}
    stack: list[tuple[int, tuple[str, ...], tuple[int, ...], float]] = [(fst.start, (), (), 0.0)]
    while stack:
        state, said, pdfs, cost = stack.pop()
        if math.isfinite(fst.finals[state]):
            total = cost + float(fst.finals[state])
            found[said, pdfs] = min(total, found.get((said, pdfs), math.inf))
        for ilabel, olabel, weight, target in arcs_of.get(state, []):
            if ilabel and len(pdfs) == longest:
                continue
            further = (*pdfs, ilabel - 1) if ilabel else pdfs
            stack.append((target, (*said, words[olabel]) if olabel else said, further, cost + weight))
    return found


def written_out(made: Topology, longest: int) -> Costs:
    """The same, from all sentences with all pronunciations and silences as triphones."""
    found: Costs = {}
    for length in range(longest // 3 + 1):
        for words in itertools.product(sorted(PRONUNCIATIONS), repeat=length):
            if sum(min(map(len, PRONUNCIATIONS[word])) for word in words) * 3 > longest:
                continue
            language = sentence_cost(words, language_model())
            for spoken in itertools.product(*(PRONUNCIATIONS[word] for word in words)):
                for phones, silence in with_silences(spoken, SILENCE):
                    if len(phones) * 3 > longest:
                        continue
                    around = zip(["SIL", *phones], phones, [*phones[1:], "SIL"], strict=False)
                    pdfs = tuple(
                        made.pdf(phone, state, left, right) for left, phone, right in around for state in range(3)
                    )
                    leaving = -LOOPS * sum(math.log(1 - made.self_loop[pdf]) for pdf in pdfs)
                    total = language + silence + leaving
                    found[words, pdfs] = min(total, found.get((words, pdfs), math.inf))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_the_graph_is_all_sentences_written_out_as_triphones(tmp_path, seed) -> None:
    made = topology(seed)
    found = paths_without_loops(*build(tmp_path, made), longest=12)
    expected = written_out(made, longest=12)
    assert len(expected) > 400
    assert found.keys() == expected.keys()
    for key, cost in expected.items():
        assert found[key] == pytest.approx(cost, abs=5e-3)  # minimising rounds each weight to 1/1024, twice


def test_every_state_that_consumes_a_frame_has_a_loop_of_its_pdf(tmp_path) -> None:
    made = topology(1)
    fst, _ = build(tmp_path, made)
    loops = {
        source: (arc[0], arc[2])
        for source, arc in zip(fst.sources.tolist(), fst.arcs.tolist(), strict=True)
        if arc[3] == source and arc[0]
    }
    for label, _, _, target in fst.arcs.tolist():
        if label:
            assert loops[target][0] == label
    for label, cost in loops.values():
        assert cost == pytest.approx(-LOOPS * math.log(made.self_loop[label - 1]), rel=1e-5)


def test_words_whose_phones_share_all_pdfs_are_both_in_the_graph(tmp_path) -> None:
    """One leaf for each state of Y, whatever its stress: B and E sound the same, only the language model knows."""
    tree = StateTree(
        {},
        tuple(
            Root(phones, tuple(Leaf(3 * number + state, 1) for state in range(3)))
            for number, phones in enumerate((("SIL",), ("X",), ("Y0", "Y1")))
        ),
    )
    made = Topology.uniform(PHONES, tree=tree)
    found = paths_without_loops(*build(tmp_path, made), longest=12)
    assert found == {key: pytest.approx(cost, abs=5e-3) for key, cost in written_out(made, longest=12).items()}
    assert {("B",), ("E",)} <= {words for words, pdfs in found if pdfs == (3, 4, 5, 6, 7, 8)}


@pytest.mark.parametrize("seed", range(8))
def test_the_best_path_is_the_best_of_all_paths(tmp_path, seed) -> None:
    made, penalty = topology(seed), (0.0, 1.5, -2.0)[seed % 3]
    fst, words = build(tmp_path, made)
    write_fst(tmp_path / GRAPH_FILE, fst)
    write_words(tmp_path / WORDS_FILE, words)
    frames = 8 + seed % 4
    matrix = (3 * np.random.default_rng(seed).standard_normal((frames, made.num_pdfs))).astype(np.float32)
    total, *_ = best_path(
        matrix,
        PRONUNCIATIONS,
        language_model(),
        made,
        acoustic_scale=0.5,
        insertion_penalty=penalty,
        silence_probability=SILENCE,
        self_loop_scale=LOOPS,
    )
    search = Search(acoustic_scale=0.5, beam=1000.0, max_active=100_000)
    with penalised(tmp_path, penalty, tmp_path) as graph_file:
        found = Decoder(tmp_path, replace(search, insertion_penalty=penalty), graph_file=graph_file).decode("u", matrix)
    assert found.reached_final
    assert found.total_cost(0.5, penalty) == pytest.approx(total, abs=5e-3)
