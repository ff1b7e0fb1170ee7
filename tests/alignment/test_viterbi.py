"""The best path against an enumeration of all paths, and on signals whose alignment is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, pairwise, product

import numpy as np
import pytest

from kd_asr.alignment.graphs import training_graph
from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.settings import AlignSettings
from kd_asr.alignment.topology import Topology
from kd_asr.alignment.tree import Leaf, Root, StateTree
from kd_asr.alignment.viterbi import BestPath, align_utterance, best_path

PHONES = ("SIL", "SPN", "A", "B", "C")
LEXICON = Lexicon({"A": (("A",),), "B": (("B",),), "AB": (("A", "B"),), "X": (("A",), ("B",), ("C",))})
SETTINGS = AlignSettings()


def _topology(seed: int = 0) -> Topology:
    return Topology(PHONES, tuple(np.random.default_rng(seed).uniform(0.2, 0.9, 15).tolist()))


def _all_paths(
    words: list[str], topology: Topology, frames: int, silence: float
) -> Iterator[tuple[float, list[str], list[int], list[int]]]:
    """Every way to say the words in so many frames: log-probability, phones, pdf of each state, frames of each."""
    variants = [LEXICON.pronunciations[word] for word in words]
    for choice in product(*variants):
        for places in product((False, True), repeat=len(words) + 1):
            prior = sum(math.log(silence if taken else 1 - silence) for taken in places)
            prior -= sum(math.log(len(found)) for found in variants)
            phones = ["SIL"] * places[0]
            for pronunciation, taken in zip(choice, places[1:], strict=True):
                phones += [*pronunciation, *["SIL"] * taken]
            states = [topology.pdf(phone, state) for phone in phones for state in range(3)]
            for cuts in combinations(range(1, frames), len(states) - 1):
                bounds = [0, *cuts, frames]
                counts = [end - start for start, end in pairwise(bounds)]
                loops = sum(
                    (count - 1) * math.log(topology.self_loop[pdf]) + math.log(1 - topology.self_loop[pdf])
                    for pdf, count in zip(states, counts, strict=True)
                )
                yield prior + loops, phones, states, counts


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("words", "frames"), [(["A"], 11), (["X"], 10), (["A", "B"], 11), (["AB"], 10), (["A", "X"], 9)]
)
def test_the_best_of_all_paths_is_found(words: list[str], frames: int, seed: int) -> None:
    topology = _topology(seed)
    scores = np.random.default_rng(seed + 10).normal(0, 3, (frames, 15)).astype(np.float32)
    best, best_phones, best_pdfs = -math.inf, [""], np.zeros(0)
    for log_probability, phones, states, counts in _all_paths(words, topology, frames, 0.3):
        pdfs = np.repeat(states, counts)
        total = log_probability + float(scores[np.arange(frames), pdfs].sum())
        if total > best:
            best, best_phones, best_pdfs = total, phones, pdfs
    graph = training_graph(words, LEXICON, topology, silence_probability=0.3)
    path = best_path(scores, graph, beam=1000, retry_beam=1000)
    assert path is not None
    assert path.log_probability == pytest.approx(best, abs=1e-3)
    np.testing.assert_array_equal(path.pdfs, best_pdfs)
    assert [item.phone for item in path.phones] == best_phones


def _signal(spans: list[tuple[str, int]], topology: Topology) -> tuple[np.ndarray, np.ndarray]:
    """Scores that favour these phones, each state a third of the time; and the pdfs."""
    pdfs = np.concatenate([
        np.repeat([topology.pdf(phone, state) for state in range(3)], frames // 3) for phone, frames in spans
    ])
    scores = np.random.default_rng(0).normal(0, 1, (len(pdfs), topology.num_pdfs)).astype(np.float32)
    scores[np.arange(len(pdfs)), pdfs] += 12
    return scores, pdfs


def _best(scores: np.ndarray, words: list[str], topology: Topology) -> BestPath:
    path = best_path(
        scores, training_graph(words, LEXICON, topology, silence_probability=0.5), beam=200, retry_beam=1000
    )
    assert path is not None
    return path


@pytest.mark.parametrize("pause", [0, 3, 30])
def test_optional_silence_is_found_where_it_is(pause: int) -> None:
    topology = Topology.uniform(PHONES)
    spans = [("SIL", 15), ("A", 9), *([("SIL", pause)] if pause else []), ("B", 12)]
    scores, pdfs = _signal(spans, topology)
    path = _best(scores, ["A", "B"], topology)
    np.testing.assert_array_equal(path.pdfs, pdfs)
    assert [(item.phone, item.num_frames) for item in path.phones] == spans
    assert [item.start_frame for item in path.phones] == np.cumsum([0, *(frames for _, frames in spans[:-1])]).tolist()


@pytest.mark.parametrize("said", ["A", "B", "C"])
def test_the_pronunciation_that_was_said_is_chosen(said: str) -> None:
    topology = Topology.uniform(PHONES)
    scores, _ = _signal([("SIL", 6), (said, 12), ("SIL", 6)], topology)
    assert [item.phone for item in _best(scores, ["X"], topology).phones] == ["SIL", said, "SIL"]


def test_the_same_phone_twice_is_two_phones() -> None:
    topology = Topology.uniform(PHONES)
    scores, _ = _signal([("A", 9), ("A", 15)], topology)
    path = _best(scores, ["A", "A"], topology)
    assert [(item.phone, item.start_frame, item.num_frames) for item in path.phones] == [("A", 0, 9), ("A", 9, 15)]
    assert np.flatnonzero(path.entered).tolist() == [0, 3, 6, 9, 14, 19]


def test_states_that_share_a_pdf_are_still_told_apart() -> None:
    tree = StateTree({}, tuple(Root((phone,), (Leaf(number, 0),) * 3) for number, phone in enumerate(PHONES)))
    topology = Topology.uniform(PHONES, 0.5, tree)
    scores = np.zeros((12, topology.num_pdfs), dtype=np.float32)
    path = _best(scores, ["A", "A"], topology)
    assert [item.phone for item in path.phones if item.phone != "SIL"] == ["A", "A"]
    assert sum(item.num_frames for item in path.phones) == 12
    assert path.entered.sum() == 3 * len(path.phones)


def test_a_transcript_that_does_not_fit_gives_nothing() -> None:
    topology = Topology.uniform(PHONES)
    scores = np.zeros((8, 15), dtype=np.float32)
    assert align_utterance("u", scores, ["A", "B", "A"], LEXICON, topology, settings=SETTINGS) is None
    fitting = align_utterance("u", np.zeros((9, 15), np.float32), ["A", "B", "A"], LEXICON, topology, settings=SETTINGS)
    assert fitting is not None
    np.testing.assert_array_equal(fitting.pdfs, [6, 7, 8, 9, 10, 11, 6, 7, 8])


def test_the_wider_beam_is_tried_when_the_first_one_loses_the_path() -> None:
    """All frames look like the beginning: a narrow beam stays there and never comes to the end of a long transcript."""
    topology = Topology.uniform(PHONES)
    scores = np.full((120, 15), -20.0, dtype=np.float32)
    scores[:, topology.pdf("A", 0)] = 0.0
    graph = training_graph(["A"] + 30 * ["B"], LEXICON, topology, silence_probability=0.5)
    assert best_path(scores, graph, beam=5, retry_beam=5) is None
    path = best_path(scores, graph, beam=5, retry_beam=5000)
    assert path is not None
    assert [item.phone for item in path.phones if item.phone != "SIL"] == ["A"] + 30 * ["B"]


def test_any_matrix_of_scores_can_be_aligned() -> None:
    """A network's log-posteriors minus log-priors, not contiguous in memory, of another type."""
    topology = Topology.uniform(PHONES)
    scores, pdfs = _signal([("SIL", 9), ("A", 9), ("B", 9)], topology)
    log_posteriors = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    alignment = align_utterance(
        "u-1", np.asfortranarray(log_posteriors - np.log(1 / 15)), ["AB"], LEXICON, topology, settings=SETTINGS
    )
    assert alignment is not None
    assert alignment.utterance_id == "u-1"
    assert alignment.pdfs.dtype == np.int32
    np.testing.assert_array_equal(alignment.pdfs, pdfs)


def test_no_words_is_silence() -> None:
    topology = Topology.uniform(PHONES)
    alignment = align_utterance("u", np.zeros((7, 15), np.float32), [], LEXICON, topology, settings=SETTINGS)
    assert alignment is not None
    assert {item.phone for item in alignment.phones} == {"SIL"}
