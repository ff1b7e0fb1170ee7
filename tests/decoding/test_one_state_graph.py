"""The decoding graph of sequence training, against every sentence of a small language written out as left biphones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from every_path import sentence_cost, with_silences

from kd_asr.alignment.graphs import training_graph
from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.tree import Leaf, Node, Root, Split, StateTree
from kd_asr.alignment.viterbi import best_path
from kd_asr.decoding.arpa import write_arpa
from kd_asr.decoding.decoder import Decoder, Search
from kd_asr.decoding.fst_arrays import FstArrays, write_fst
from kd_asr.decoding.graph import GRAPH_FILE, WORDS_FILE, decoding_graph, sentence_graph, write_words
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.sequence.topology import OneStateTopology

PHONES = ("SIL", "X", "Y0", "Y1")
# Homophones (A, C), a word that begins another (A, B), variants (D), and words that differ in stress alone (B, E).
PRONUNCIATIONS = {"A": (("X",),), "B": (("X", "Y0"),), "C": (("X",),), "D": (("Y1",), ("X", "X")), "E": (("X", "Y1"),)}
SENTENCES = ["A B", "C", "D A", "B B D", "C D", "D A E", "A", "E A", "E E"]
SILENCE = 0.3


def language_model():
    return estimate_ngrams([sentence.split() for sentence in SENTENCES], 3)


def topology(seed: int) -> OneStateTopology:
    """Both pdfs of a phone depend, by chance, on the one to its left; Y0 and Y1 share theirs."""
    rng = np.random.default_rng(seed)
    sets = {f"set-{number}": tuple(phone for phone in PHONES if rng.random() < 0.5) for number in range(4)}
    pdfs = iter(range(100))

    def grow(depth: int) -> Node:
        if depth == 0 or rng.random() < 0.3:
            return Leaf(next(pdfs), 1)
        return Split("left", f"set-{rng.integers(4)}", 1.0, grow(depth - 1), grow(depth - 1))

    roots = [Root(phones, (grow(2), grow(2))) for phones in (("X",), ("Y0", "Y1"))]
    silence = Root(("SIL",), (Leaf(next(pdfs), 1), Leaf(next(pdfs), 1)))
    return OneStateTopology(PHONES, StateTree(sets, (*roots, silence)))


def pdfs_of(made: OneStateTopology, phones: list[str]) -> list[tuple[int, int]]:
    return [made.pdfs(phone, left) for left, phone in zip(["SIL", *phones], phones, strict=False)]


def build(folder, made: OneStateTopology) -> tuple[FstArrays, list[str]]:
    write_arpa(folder / "lm.arpa", language_model())
    fst, words = decoding_graph(Lexicon(PRONUNCIATIONS), folder / "lm.arpa", made, silence_probability=SILENCE)
    write_fst(folder / GRAPH_FILE, fst)
    write_words(folder / WORDS_FILE, words)
    return fst, words


def best_sentence(scores: np.ndarray, made: OneStateTopology) -> float:
    """Least cost of all sentences, pronunciations, silences and times; each frame costs log 2 in the graph."""
    frames, best = len(scores), math.inf
    timed: dict[tuple[str, ...], float] = {}

    def acoustic(phones: list[str]) -> float:
        if not 0 < len(phones) <= frames:
            return math.inf
        found = math.inf
        for cuts in itertools.combinations(range(1, frames), len(phones) - 1):
            edges = (0, *cuts, frames)
            total = 0.0
            for (first, others), start, end in zip(pdfs_of(made, phones), edges, edges[1:], strict=False):
                total -= float(scores[start, first] + scores[start + 1 : end, others].sum())
            found = min(found, total)
        return found

    for length in range(4):
        for words in itertools.product(PRONUNCIATIONS, repeat=length):
            language = sentence_cost(words, language_model())
            for spoken in itertools.product(*(PRONUNCIATIONS[word] for word in words)):
                for phones, silence in with_silences(spoken, SILENCE):
                    key = tuple(phones)
                    if key not in timed:
                        timed[key] = acoustic(phones)
                    best = min(best, language + silence + timed[key])
    return best + frames * math.log(2)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_path_is_the_best_of_all_sentences(tmp_path, seed) -> None:
    made = topology(seed)
    build(tmp_path, made)
    scores = (3 * np.random.default_rng(seed).standard_normal((6, made.num_pdfs))).astype(np.float32)
    found = Decoder(tmp_path, Search(acoustic_scale=1.0, beam=1000.0, max_active=100_000)).decode("u", scores)
    assert found.reached_final
    # Of at most three words, so that longer ones may be cheaper; minimising rounds each weight to 1/1024, twice.
    assert len(found.words) <= 3
    assert found.total_cost(1.0, 0.0) == pytest.approx(best_sentence(scores, made), abs=5e-3)


def test_a_phone_can_be_passed_in_one_frame_and_goes_on_with_its_other_pdf(tmp_path) -> None:
    made = topology(1)
    fst, _ = build(tmp_path, made)
    known = {made.pdfs(phone, left) for phone in PHONES for left in PHONES}
    loops = {
        source: arc[0] - 1
        for source, arc in zip(fst.sources.tolist(), fst.arcs.tolist(), strict=True)
        if arc[0] and arc[3] == source
    }
    entered = set()
    for source, (label, _, _, target) in zip(fst.sources.tolist(), fst.arcs.tolist(), strict=True):
        if label and source != target:
            entered.add((label - 1, loops[target]))
    assert entered <= known and {first for first, _ in entered} >= {pair[0] for pair in pdfs_of(made, ["X", "Y0"])}


def test_monophones_need_no_context(tmp_path) -> None:
    made = OneStateTopology(PHONES)
    fst, words = build(tmp_path, made)
    assert set(np.unique(fst.arcs["ilabel"])) == set(range(made.num_pdfs + 1))
    scores = np.full((3, made.num_pdfs), -10.0, dtype=np.float32)
    for frame, (phone, place) in enumerate((("X", 0), ("Y0", 0), ("Y0", 1))):
        scores[frame, made.pdfs(phone, "SIL")[place]] = 0.0
    found = Decoder(tmp_path, Search(acoustic_scale=1.0)).decode("u", scores)
    assert found.words == ("B",) and len(words) == 6


@pytest.mark.parametrize("seed", range(4))
def test_an_alignment_is_the_search_of_its_own_sentence(tmp_path, seed) -> None:
    """The graph that words are timed with has the cheapest path of the one that is searched, without a grammar."""
    made, words = topology(seed), ["A", "E", "B"]
    lexicon = Lexicon({word: PRONUNCIATIONS[word] for word in words})
    scores = (3 * np.random.default_rng(seed).standard_normal((9, made.num_pdfs))).astype(np.float32)
    fst, names = sentence_graph(words, [0.0] * 4, lexicon, made, silence_probability=SILENCE)
    write_fst(tmp_path / GRAPH_FILE, fst)
    write_words(tmp_path / WORDS_FILE, names)
    searched = Decoder(tmp_path, Search(acoustic_scale=1.0, beam=1000.0, max_active=100_000)).decode("u", scores)
    graph = training_graph(words, lexicon, made, silence_probability=SILENCE)
    found = best_path(scores, graph, beam=1000.0, retry_beam=1000.0)
    assert found is not None and graph.shortest == 5
    assert -found.log_probability == pytest.approx(searched.total_cost(1.0, 0.0), abs=0.02)
    # Its pdfs are those of its phones, in context.
    spoken = [item.phone for item in found.phones]
    assert [phone for phone in spoken if phone != "SIL"] == ["X", "X", "Y1", "X", "Y0"]
    for item, (first, others) in zip(found.phones, pdfs_of(made, spoken), strict=True):
        own = found.pdfs[item.start_frame : item.start_frame + item.num_frames].tolist()
        assert own == [first, *[others] * (item.num_frames - 1)]
