"""Causes of errors by hand, and the graph of one sentence against the graph of all."""

import math

import numpy as np
import pytest

from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.topology import Topology
from kd_asr.decoding.arpa import BEGIN, END, write_arpa
from kd_asr.decoding.decoder import Decoder, Search
from kd_asr.decoding.fst_arrays import write_fst
from kd_asr.decoding.graph import GRAPH_FILE, WORDS_FILE, decoding_graph, sentence_graph, write_words
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.evaluation.wer import WordErrors
from kd_asr.experiments.errors.causes import Costs, Examined, quarters, unknown_words
from kd_asr.experiments.errors.page import page, tables, utterance_rows
from kd_asr.sequence.topology import OneStateTopology

PRONUNCIATIONS = {"A": (("X",),), "B": (("X", "Y"),), "C": (("Y",), ("X", "X"))}
SENTENCES = ["A B", "C A", "B B C", "C", "A A"]
PHONES = ("SIL", "X", "Y")
EXACT = {"beam": 1000.0, "max_active": 100_000}


@pytest.mark.parametrize("made", [Topology.uniform(PHONES, 0.6), OneStateTopology(PHONES)], ids=["three", "one"])
def test_a_sentence_costs_the_same_in_its_own_graph(tmp_path, made) -> None:
    """What is found in the graph of all sentences costs as much in its own, and no sentence costs less."""
    model, lexicon = estimate_ngrams([sentence.split() for sentence in SENTENCES], 2), Lexicon(PRONUNCIATIONS)
    arpa = tmp_path / "lm.arpa"
    write_arpa(arpa, model)

    def decoder(name: str, fst, words) -> Decoder:
        (tmp_path / name).mkdir()
        write_fst(tmp_path / name / GRAPH_FILE, fst)
        write_words(tmp_path / name / WORDS_FILE, words)
        return Decoder(tmp_path / name, Search(0.7, **EXACT))

    def cost(words: list[str], scores: np.ndarray, name: str) -> float:
        steps = [
            -math.log(10) * model.log10_probability(word, [BEGIN, *words[:place]])
            for place, word in enumerate([*words, END])
        ]
        fst, names = sentence_graph(words, steps, lexicon, made, silence_probability=0.3, self_loop_scale=0.5)
        found = decoder(name, fst, names).decode("u", scores)
        assert found.words == tuple(words) and found.reached_final
        return found.total_cost(0.7, 0.0)

    whole = decoder("all", *decoding_graph(lexicon, arpa, made, silence_probability=0.3, self_loop_scale=0.5))
    for seed in range(3):
        scores = 3 * np.random.default_rng(seed).standard_normal((24, made.num_pdfs)).astype(np.float32)
        best = whole.decode("u", scores)
        # A graph may back off where it need not.
        assert cost(list(best.words), scores, f"best-{seed}") == pytest.approx(best.total_cost(0.7, 0.0), abs=0.1)
        for number, sentence in enumerate(SENTENCES):
            assert cost(sentence.split(), scores, f"{seed}-{number}") > best.total_cost(0.7, 0.0) - 0.02


def examined(said: str, found: str, of_said: Costs | None, of_found: Costs, **others) -> Examined:
    fields = {"speaker": "s", "unknown": frozenset(), "frame_accuracy": 0.5, **others}
    alternatives = tuple(tuple(one.split()) for one in found.split("/"))
    return Examined(
        utterance_id=others.get("utterance_id", said),
        reference=tuple(said.split()),
        alternatives=alternatives,
        of_reference=of_said,
        of_hypothesis=of_found,
        **{name: value for name, value in fields.items() if name != "utterance_id"},
    )


SOME = [
    examined("A B", "A C/A B", Costs(10, 4), Costs(11, 3)),  # what was said costs less
    examined("B B", "C/A", Costs(10, 5), Costs(9, 2), speaker="t"),  # 5 and 7 without the language model
    examined("C A", "C B", Costs(10, 3), Costs(9, 4)),
    examined("C C", "A C", Costs(10, 3), Costs(8, 2)),
    examined("A Q C", "A B A", None, Costs(8, 2), unknown=frozenset("Q")),
    examined("A", "A", Costs(5, 1), Costs(5, 1), frame_accuracy=0.9),
]


def test_causes_by_hand() -> None:
    assert [one.cause for one in SOME] == ["search", "language model", "acoustics", "both models", "vocabulary", None]
    assert SOME[0].oracle(1) == WordErrors(substitutions=1, hits=1)
    assert SOME[0].oracle(2).errors == 0
    found = unknown_words(SOME)
    assert (found.words, found.errors, found.beside) == (1, 1, 1)
    assert [len(part) for part in quarters(SOME)] == [2, 2, 1, 1] and quarters(SOME)[-1] == [SOME[-1]]


def test_the_page_has_every_utterance_once() -> None:
    causes, speakers, outside, alternatives, frames = tables(SOME)
    assert sum(int(row[1]) for row in causes.rows) == 5
    assert sum(int(row[2]) for row in causes.rows) == 1 + 2 + 1 + 1 + 2
    assert [row[0] for row in speakers.rows] == ["t", "s"] and speakers.rows[0][1:3] == ("2", "100.00")
    assert outside.rows == (("1", "8.33", "1", "1", "28.6"),)
    assert [row[0] for row in alternatives.rows] == ["1", "2"] and alternatives.rows[0][1] == "58.33"
    assert sum(int(row[1]) for row in frames.rows) == 6
    text = page(SOME, "one on dev")
    assert text.startswith("# Where words are lost\n\none on dev: 6 utterances, 12 words, 58.33 % WER")
    header, *rows = utterance_rows(SOME)
    assert {len(row) for row in rows} == {len(header)} and len(rows) == 6
    nothing = tables([])
    assert [len(table.rows) for table in nothing] == [5, 0, 1, 1, 0]
