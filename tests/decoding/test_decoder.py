import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from every_path import best_path

from kd_asr.alignment.lexicon import Lexicon, read_lexicon
from kd_asr.alignment.topology import Topology
from kd_asr.decoding.arpa import write_arpa
from kd_asr.decoding.decoder import Decoder, Search, load_scores, penalised, search_set
from kd_asr.decoding.fst_arrays import write_fst
from kd_asr.decoding.graph import GRAPH_FILE, WORDS_FILE, decoding_graph, write_words
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.errors import UserError
from kd_asr.parallel import Workers

# Homophones (A, C), a word that begins another (A, B), variants (D), and a variant that is another word's (D, B).
PRONUNCIATIONS = {"A": (("X",),), "B": (("X", "Y"),), "C": (("X",),), "D": (("Y",), ("X", "Y"))}
SENTENCES = ["A B", "C", "D A", "B B D", "C D", "D A", "A", "UNSPOKEN A"]
SILENCE = 0.3
LOOPS = 0.1
WIDE = Search(acoustic_scale=0.5, beam=1000.0, max_active=100_000)


def topology() -> Topology:
    return Topology(("SIL", "X", "Y"), tuple(np.random.default_rng(7).uniform(0.3, 0.9, 9).tolist()))


def language_model():
    return estimate_ngrams([sentence.split() for sentence in SENTENCES], 3)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    write_arpa(folder / "lm.arpa.gz", language_model())
    lexicon = Lexicon({**PRONUNCIATIONS, "UNWRITTEN": (("Y", "Y"),)})
    fst, words = decoding_graph(
        lexicon, folder / "lm.arpa.gz", topology(), silence_probability=SILENCE, self_loop_scale=LOOPS
    )
    write_fst(folder / GRAPH_FILE, fst)
    write_words(folder / WORDS_FILE, words)
    return folder


def scores(seed: int, frames: int, spread: float = 3.0) -> np.ndarray:
    return (spread * np.random.default_rng(seed).standard_normal((frames, 9))).astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("penalty", [0.0, 1.5, -2.0])
def test_the_best_path_is_the_best_of_all_paths(graph, seed, penalty, tmp_path) -> None:
    matrix = scores(seed, frames=8 + seed % 4)
    total, words, graph_cost, acoustic_cost = best_path(
        matrix,
        PRONUNCIATIONS,
        language_model(),
        topology(),
        acoustic_scale=0.5,
        insertion_penalty=penalty,
        silence_probability=SILENCE,
        self_loop_scale=LOOPS,
    )
    with penalised(graph, penalty, tmp_path) as graph_file:
        found = Decoder(graph, replace(WIDE, insertion_penalty=penalty), graph_file=graph_file).decode("u", matrix)
    assert found.reached_final
    assert found.words == words
    assert found.graph_cost == pytest.approx(graph_cost, abs=1e-3)
    assert found.acoustic_cost == pytest.approx(acoustic_cost, abs=1e-3)
    assert found.total_cost(0.5, penalty) == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_probabilities_of_variants_are_costs_in_the_graph(seed, tmp_path) -> None:
    """A lexicon with probabilities, from its file to the best path."""
    lines = ["A 1.0 X", "B 1.0 X Y", "C 1.0 X", "D 0.8 Y", "D 0.05 X Y"]
    (tmp_path / "lexiconp.txt").write_text("".join(f"{line}\n" for line in lines))
    write_arpa(tmp_path / "lm.arpa", language_model())
    lexicon = read_lexicon(tmp_path / "lexiconp.txt")
    fst, words = decoding_graph(
        lexicon, tmp_path / "lm.arpa", topology(), silence_probability=SILENCE, self_loop_scale=LOOPS
    )
    write_fst(tmp_path / GRAPH_FILE, fst)
    write_words(tmp_path / WORDS_FILE, words)
    matrix = scores(seed, frames=9)
    total, best, graph_cost, _ = best_path(
        matrix,
        PRONUNCIATIONS,
        language_model(),
        topology(),
        acoustic_scale=0.5,
        silence_probability=SILENCE,
        self_loop_scale=LOOPS,
        variant_costs={"D": (0.0, -math.log(0.05 / 0.8))},
    )
    found = Decoder(tmp_path, WIDE).decode("u", matrix)
    assert found.words == best
    assert found.graph_cost == pytest.approx(graph_cost, abs=1e-3)
    assert found.total_cost(0.5, 0.0) == pytest.approx(total, abs=1e-3)


def test_words_that_lexicon_or_language_model_lack_are_never_recognised(graph) -> None:
    words = (graph / WORDS_FILE).read_text().split()[::2]
    assert words == ["<eps>", "A", "B", "C", "D"]


def test_a_penalty_makes_sentences_shorter_and_a_reward_longer(graph, tmp_path) -> None:
    lengths = []
    for penalty in (-6.0, 0.0, 6.0):
        with penalised(graph, penalty, tmp_path) as graph_file:
            decoder = Decoder(graph, replace(WIDE, insertion_penalty=penalty), graph_file=graph_file)
        lengths.append(sum(len(decoder.decode("u", scores(seed, 40)).words) for seed in range(5)))
    assert lengths[0] > lengths[1] > lengths[2]


def test_an_utterance_shorter_than_any_word_gives_an_unfinished_path(graph) -> None:
    found = Decoder(graph, WIDE).decode("short", scores(1, 2))
    assert (found.reached_final, found.frames) == (False, 2)
    assert Decoder(graph, WIDE).decode("empty", scores(1, 0)).words == ()


def test_scores_that_are_not_numbers_are_refused(graph) -> None:
    matrix = scores(1, 12)
    matrix[3, 4] = np.nan
    with pytest.raises(UserError, match=r"utterance-7: .* not all finite"):
        Decoder(graph, WIDE).decode("utterance-7", matrix)


@pytest.mark.parametrize("shape", [(12, 8), (12, 0), (12,)])
def test_a_matrix_with_fewer_pdfs_than_the_graph_is_refused(graph, shape) -> None:
    with pytest.raises(UserError, match=r"u: scores of shape .* but the graph has 9 pdfs"):
        Decoder(graph, WIDE).decode("u", np.zeros(shape, dtype=np.float32))


def test_a_narrow_search_never_finds_a_better_path_than_a_wide_one(graph) -> None:
    narrow = Decoder(graph, replace(WIDE, beam=2.0, max_active=5))
    wide = Decoder(graph, WIDE)
    for seed in range(10):
        matrix = scores(seed, 60)
        assert narrow.decode("u", matrix).total_cost(0.5, 0.0) >= wide.decode("u", matrix).total_cost(0.5, 0.0) - 1e-2


def test_processes_give_the_same_in_the_order_asked(graph, tmp_path) -> None:
    utterances = [(f"u{number}", 20 + 7 * number % 30) for number in range(9)]
    for number, (name, frames) in enumerate(utterances):
        np.save(tmp_path / f"{name}.npy", scores(number, frames))
    search = replace(WIDE, insertion_penalty=0.5)
    load = partial(load_scores, folder=tmp_path)
    narrow = replace(WIDE, beam=1.0, insertion_penalty=-3.0)
    with Workers(2) as workers:
        # The same workers must not mistake one graph, or one search, for another.
        for asked in (search, replace(search, acoustic_scale=0.1), narrow, replace(WIDE, insertion_penalty=0.0)):
            found = search_set(
                graph,
                utterances,
                load,
                asked,
                workers,
                method=Decoder.decode,
                scratch=tmp_path,
                description="decode",
            )
            with penalised(graph, asked.insertion_penalty, tmp_path) as graph_file:
                decoder = Decoder(graph, asked, graph_file=graph_file)
                expected = [decoder.decode(name, load(name)) for name, _ in utterances]
            assert not list(tmp_path.glob("*.fst"))
            assert [replace(item, search_seconds=0.0) for item in found] == [
                replace(item, search_seconds=0.0) for item in expected
            ]


def test_scores_that_cannot_be_read_are_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"u\.npy cannot be read"):
        load_scores("u", folder=tmp_path)
    np.save(tmp_path / "u.npy", scores(0, 50))
    (tmp_path / "u.npy").write_bytes((tmp_path / "u.npy").read_bytes()[:-100])
    with pytest.raises(UserError, match=r"u\.npy cannot be read"):
        load_scores("u", folder=tmp_path)


def test_damaged_graph_folders_are_refused(graph, tmp_path) -> None:
    with pytest.raises(UserError, match=r"words\.txt cannot be read"):
        Decoder(tmp_path, WIDE)
    (tmp_path / WORDS_FILE).write_text("<eps> 0\nA 2\n")
    with pytest.raises(UserError, match=r"words\.txt, line 2"):
        Decoder(tmp_path, WIDE)
    (tmp_path / GRAPH_FILE).write_bytes((graph / GRAPH_FILE).read_bytes())
    (tmp_path / WORDS_FILE).write_text("<eps> 0\nA 1\n")
    with pytest.raises(UserError, match="do not belong together"):
        Decoder(tmp_path, WIDE)
    (tmp_path / WORDS_FILE).write_bytes((graph / WORDS_FILE).read_bytes())
    (tmp_path / GRAPH_FILE).unlink()
    with pytest.raises(UserError, match=r"HCLG\.fst cannot be read"):
        Decoder(tmp_path, WIDE)
    (tmp_path / GRAPH_FILE).write_bytes((graph / GRAPH_FILE).read_bytes()[:-16])
    with pytest.raises(UserError, match="not a whole graph file"):
        Decoder(tmp_path, WIDE)
