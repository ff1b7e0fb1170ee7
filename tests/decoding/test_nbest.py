import math
from functools import partial

import numpy as np
import pytest
from every_path import best_path_of_each_sentence
from every_path import sentence_cost as cost_by_any_path
from test_decoder import LOOPS, PRONUNCIATIONS, SILENCE, WIDE, graph, language_model, scores, topology

from kd_asr.decoding.decoder import Decoder, load_scores, search_set
from kd_asr.decoding.nbest import Alternative, rescored, sentence_cost
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.errors import UserError
from kd_asr.evaluation.confidence import word_confidences
from kd_asr.parallel import Workers

__all__ = ["graph"]  # a fixture


@pytest.mark.parametrize("seed", range(6))
def test_the_alternatives_are_the_best_of_all_word_sequences(graph, seed: int) -> None:
    matrix = scores(seed, frames=8 + seed % 3)
    every = best_path_of_each_sentence(
        matrix,
        PRONUNCIATIONS,
        language_model(),
        topology(),
        acoustic_scale=0.5,
        silence_probability=SILENCE,
        self_loop_scale=LOOPS,
    )
    expected = sorted((total, words) for total, words, _, _ in every.values())
    found = Decoder(graph, WIDE).alternatives("u", matrix, count=8, lattice_beam=1000.0)
    assert [one.cost for one in found] == pytest.approx([total for total, _ in expected[:8]], abs=2e-3)
    by_words = {words: total for total, words in expected}
    assert len({one.words for one in found}) == len(found) == min(8, len(expected))
    for one in found:
        assert one.cost == pytest.approx(by_words[one.words], abs=2e-3)


def test_a_narrow_lattice_has_fewer_and_the_first_is_what_is_recognised(graph) -> None:
    decoder = Decoder(graph, WIDE)
    for seed in range(5):
        matrix = scores(seed, 30)
        few = decoder.alternatives("u", matrix, count=50, lattice_beam=1.0)
        many = decoder.alternatives("u", matrix, count=50, lattice_beam=8.0)
        assert len(few) < len(many) <= 50
        assert all(one.cost <= few[0].cost + 1.0 + 1e-3 for one in few)
        assert few[0].words == decoder.decode("u", matrix).words


def test_of_a_set_in_workers(graph, tmp_path) -> None:
    for seed in range(3):
        np.save(tmp_path / f"{seed}.npy", scores(seed, 20))
    with Workers(2) as workers:
        found = search_set(
            graph,
            [(str(seed), 20) for seed in range(3)],
            partial(load_scores, folder=tmp_path),
            WIDE,
            workers,
            method=partial(Decoder.alternatives, count=4, lattice_beam=6.0),
            scratch=tmp_path,
            description="alternatives",
        )
    decoder = Decoder(graph, WIDE)
    assert found == [decoder.alternatives("u", scores(seed, 20), count=4, lattice_beam=6.0) for seed in range(3)]


def test_nothing_comes_of_nothing_and_bad_scores_are_refused(graph) -> None:
    decoder = Decoder(graph, WIDE)
    assert decoder.alternatives("u", np.zeros((0, 9), dtype=np.float32), count=3, lattice_beam=5.0) == []
    with pytest.raises(UserError, match="not all finite"):
        decoder.alternatives("u", np.full((9, 9), np.nan, dtype=np.float32), count=3, lattice_beam=5.0)


def test_a_sentence_costs_what_the_model_says() -> None:
    model = language_model()
    for words in (("A", "B"), ("D", "A"), ("C", "C"), ()):
        by_hand = 0.0
        history = ["<s>"]
        for word in (*words, "</s>"):
            by_hand -= model.log10_probability(word, history) * math.log(10)
            history.append(word)
        assert sentence_cost(model, words) == pytest.approx(by_hand)
        assert sentence_cost(model, words) >= cost_by_any_path(words, model) - 1e-9
    with pytest.raises(KeyError):
        sentence_cost(model, ("NEVER",))


def test_another_model_moves_the_best() -> None:
    old, new = language_model(), estimate_ngrams([["A", "B"]] * 5 + [["C"]], 2)
    alternatives = [Alternative(("D", "A"), 1.0), Alternative(("A", "B"), 1.5)]
    assert rescored(alternatives, old, new, 0.0) == alternatives
    assert rescored(alternatives, old, old, 0.7) == alternatives
    moved = rescored(alternatives, old, new, 1.0)
    assert moved[0].words == ("A", "B")
    expected = 1.5 + sentence_cost(new, ("A", "B")) - sentence_cost(old, ("A", "B"))
    assert moved[0].cost == pytest.approx(expected)
    # D, which the new model lacks, keeps the old one's probability.
    kept = -math.log(10) * (
        old.log10_probability("D", ["<s>"])
        + new.log10_probability("A", ["<s>", "D"])
        + new.log10_probability("</s>", ["<s>", "D", "A"])
    )
    assert moved[1].cost == pytest.approx(1.0 + kept - sentence_cost(old, ("D", "A")))


def test_confidences_by_hand() -> None:
    alternatives = [
        Alternative(("THE", "CAT", "SAT"), 0.0),
        Alternative(("THE", "BAT", "SAT"), math.log(2)),
        Alternative(("CAT", "SAT", "UP"), math.log(4)),
    ]
    total = 1 + 1 / 2 + 1 / 4
    assert word_confidences(alternatives) == pytest.approx([1.5 / total, 1.25 / total, 1.0])
    assert word_confidences(alternatives[:1]) == [1.0, 1.0, 1.0]
    assert word_confidences([]) == word_confidences([Alternative((), 3.0)]) == []
