import re

import kaldifst
import numpy as np
import pytest

from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.topology import Topology
from kd_asr.decoding.arpa import write_arpa
from kd_asr.decoding.context import phone_chains
from kd_asr.decoding.fst_arrays import FstArrays, from_kaldifst, make_arcs, to_kaldifst
from kd_asr.decoding.graph import decoding_graph, grammar_fst, read_words, write_words
from kd_asr.decoding.lexicon_fst import disambiguated, lexicon_fst
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.decoding.state_chains import expand_to_states
from kd_asr.errors import UserError

TOPOLOGY = Topology.uniform(("SIL", "P", "Q", "R", "S"), 0.6)


def random_language(seed: int, words: int = 40) -> tuple[Lexicon, list[list[str]]]:
    """Words over four phones, so short that many are homophones or begin others, and sentences of them."""
    rng = np.random.default_rng(seed)
    names = [f"W{number}" for number in range(words)]

    def pronunciation() -> tuple[str, ...]:
        return tuple(rng.choice(list("PQRS"), size=rng.integers(1, 4)).tolist())

    lexicon = {name: tuple({pronunciation() for _ in range(rng.integers(1, 3))}) for name in names}
    sentences = [rng.choice(names, size=rng.integers(1, 6)).tolist() for _ in range(200)]
    return Lexicon(lexicon), sentences


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    lexicon, sentences = random_language(1)
    arpa = tmp_path_factory.mktemp("graph") / "lm.arpa"
    write_arpa(arpa, estimate_ngrams(sentences, 3))
    fst, words = decoding_graph(lexicon, arpa, TOPOLOGY, silence_probability=0.5, self_loop_scale=0.1)
    return fst, words, lexicon, arpa


def test_labels_are_pdfs_and_words_and_nothing_else(built) -> None:
    fst, words, lexicon, _ = built
    assert set(np.unique(fst.arcs["ilabel"])) == set(range(TOPOLOGY.num_pdfs + 1))
    assert set(np.unique(fst.arcs["olabel"])) == set(range(len(words)))
    assert words[0] == "<eps>"
    assert set(words[1:]) == lexicon.pronunciations.keys()


def test_no_cycle_consumes_nothing(built) -> None:
    fst, *_ = built
    silent = fst.arcs["ilabel"] == 0
    sources, targets = fst.sources[silent], fst.arcs["nextstate"][silent]
    # Take away states without incoming epsilon arcs until none is left: what remains would be a cycle.
    remaining = np.ones(len(sources), dtype=bool)
    while remaining.any():
        entered = np.bincount(targets[remaining], minlength=fst.num_states) > 0
        gone = remaining & ~entered[sources]
        assert gone.any()
        remaining &= ~gone


def test_every_state_is_on_a_path_from_the_start_to_an_end(built) -> None:
    fst, *_ = built
    trimmed = to_kaldifst(fst)
    kaldifst.connect(trimmed)
    assert from_kaldifst(trimmed).num_states == fst.num_states


def test_the_graph_is_the_same_each_time(built) -> None:
    fst, words, lexicon, arpa = built
    again, words_again = decoding_graph(lexicon, arpa, TOPOLOGY, silence_probability=0.5, self_loop_scale=0.1)
    np.testing.assert_array_equal(fst.arcs, again.arcs)
    np.testing.assert_array_equal(fst.sources, again.sources)
    np.testing.assert_array_equal(fst.finals, again.finals)
    assert words == words_again


def test_disambiguation_symbols_go_to_homophones_and_beginnings() -> None:
    spellings = {"A": ("P",), "B": ("P",), "C": ("P", "Q"), "D": ("Q",), "E": ("P", "Q", "R")}
    entries = [(word, phones, 0.0) for word, phones in spellings.items()]
    assert disambiguated(entries) == ([1, 2, 1, 0, 0], 2)


@pytest.mark.parametrize("seed", range(5))
def test_a_lexicon_with_disambiguation_symbols_tells_all_words_apart(seed) -> None:
    lexicon, _ = random_language(seed)
    entries = [(word, phones, 0.0) for word, variants in lexicon.pronunciations.items() for phones in variants]
    numbers, highest = disambiguated(entries)
    keys = [
        (*phones, f"#{number}") if number else phones for (_, phones, _), number in zip(entries, numbers, strict=True)
    ]
    assert len(set(keys)) == len(keys)
    assert not any(one != other and other[: len(one)] == one for one in keys for other in keys)
    assert highest == max(numbers)


def test_optional_silence_stands_before_and_after_words_once_at_most() -> None:
    phones = {"SIL": 1, "P": 2}
    fst, symbols = lexicon_fst([("A", ("P",), 0.0)], phones=phones, words={"A": 1, "#0": 2}, silence_probability=0.25)
    assert symbols == 2
    after_silence = 4

    def cost(labels: list[int]) -> float:
        acceptor = kaldifst.make_linear_acceptor(labels)
        kaldifst.arcsort(acceptor, sort_type="olabel")
        path = kaldifst.shortest_path(kaldifst.compose(acceptor, to_kaldifst(fst)))
        if path.num_states == 0:
            return float("inf")
        return float(kaldifst.get_linear_symbol_sequence(path)[3].value)

    silence = [1, after_silence]
    assert cost([2]) == pytest.approx(-2 * np.log(0.75))
    assert cost([*silence, 2, 2, *silence]) == pytest.approx(-np.log(0.25 * 0.75 * 0.25))
    assert cost([]) == pytest.approx(-np.log(0.75))
    assert cost([2, *silence, *silence, 2]) == float("inf")


def test_states_get_loops_and_chains_are_shared() -> None:
    # Two arcs with the same label into the same state: one chain of three states, which ends in that very state.
    fst = FstArrays(
        0,
        np.array([np.inf, np.inf, 0.5], dtype=np.float32),
        np.array([0, 0, 1], dtype=np.int32),
        make_arcs(np.array([1, 2, 1]), np.array([4, 0, 5]), np.array([0.1, 0.2, 0.3]), np.array([2, 1, 2])),
    )
    chains = phone_chains(Topology.uniform(("SIL",), 0.6), 1)
    expanded = expand_to_states(fst, chains, np.full(3, 0.6))
    stay, leave = -np.log(0.6), -np.log(0.4)
    assert (expanded.num_states, expanded.num_arcs) == (5, 3 + 2 + 3)
    rows = {
        (int(source), *arc[:2]): pytest.approx(arc[2], abs=1e-6)
        for source, arc in zip(expanded.sources.tolist(), expanded.arcs.tolist(), strict=True)
    }
    assert sorted(rows.values(), key=lambda value: value.expected) == sorted(
        [0.1, 0.2, 0.3, leave, leave, stay, stay, stay]
    )
    assert expanded.finals[2] == pytest.approx(0.5 + leave)
    assert {row[1] for row in rows} == {0, 1, 2, 3}


def test_the_grammar_has_the_models_probabilities(tmp_path) -> None:
    sentences = [["A", "B"], ["A"], ["B", "B", "A"], ["C", "A", "B"]]
    model = estimate_ngrams(sentences, 2)
    write_arpa(tmp_path / "lm.arpa", model)
    words = ["<eps>", "A", "B", "C", "#0"]
    grammar = grammar_fst(tmp_path / "lm.arpa", words)
    # Let back-off arcs consume nothing, then look for the cheapest path of each sentence.
    arrays = from_kaldifst(grammar)
    arrays.arcs["ilabel"][arrays.arcs["ilabel"] == 4] = 0
    grammar = to_kaldifst(arrays)
    kaldifst.arcsort(grammar, sort_type="ilabel")
    for sentence in [*sentences, ["C", "C"], ["B", "A", "C"]]:
        path = kaldifst.shortest_path(
            kaldifst.compose(kaldifst.make_linear_acceptor([words.index(word) for word in sentence]), grammar)
        )
        cost = float(kaldifst.get_linear_symbol_sequence(path)[3].value)
        history, expected = ["<s>"], 0.0
        for word in (*sentence, "</s>"):
            expected -= model.log10_probability(word, history) * np.log(10)
            history.append(word)
        assert cost == pytest.approx(expected, rel=1e-4)


def test_an_abort_of_the_reader_of_arpa_files_is_a_sentence(tmp_path) -> None:
    (tmp_path / "lm.arpa").write_text("\\data\\\nngram 1=1\n\n\\1-grams:\nnan A\n\n\\end\\\n")
    with pytest.raises(UserError, match=r"lm\.arpa cannot be made a graph: kaldilm ended with status"):
        grammar_fst(tmp_path / "lm.arpa", ["<eps>", "A", "#0"])


def test_what_does_not_fit_together_is_refused(tmp_path) -> None:
    write_arpa(tmp_path / "lm.arpa", estimate_ngrams([["A"]], 2))
    with pytest.raises(UserError, match="share no word"):
        decoding_graph(Lexicon({"a": (("P",),)}), tmp_path / "lm.arpa", TOPOLOGY, silence_probability=0.5)
    with pytest.raises(UserError, match="A has the phone Z"):
        decoding_graph(Lexicon({"A": (("Z",),)}), tmp_path / "lm.arpa", TOPOLOGY, silence_probability=0.5)


def test_word_tables_come_back_and_bad_ones_are_named(tmp_path) -> None:
    path = tmp_path / "words.txt"
    write_words(path, ["<eps>", "A", "É"])
    assert read_words(path) == ["<eps>", "A", "É"]
    for content in ("<eps> 0\nA 2\n", "<eps> 0\nA\n", "<eps> 0\nA B 1\n"):
        path.write_text(content)
        with pytest.raises(UserError, match=re.escape("words.txt, line 2")):
            read_words(path)
