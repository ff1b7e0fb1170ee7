"""Modified Kneser-Ney estimation: laws, hand sums, and a plain calculation of the published formula."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from kd_asr.decoding.arpa import BEGIN, END, perplexity, read_arpa, write_arpa
from kd_asr.decoding.ngram import SMALL_TEXT, discounts, estimate_ngrams
from kd_asr.errors import UserError


def zipf_text(sentences: int, *, seed: int, words: int = 40) -> list[list[str]]:
    """A text with a few frequent and many rare words, in which every word leans on the one before it."""
    rng = np.random.default_rng(seed)
    ranks = np.arange(1, words + 1)
    text = []
    for length in rng.integers(0, 9, sentences):
        sentence, previous = [], 0
        for _ in range(length):
            weights = 1 / ((ranks + 7 * previous) % words + 1)
            previous = int(rng.choice(words, p=weights / weights.sum()))
            sentence.append(f"W{previous}")
        text.append(sentence)
    return text


class PlainKneserNey:
    """The formula as it is printed: recursive, with counts in dictionaries, and no back-off weights anywhere."""

    def __init__(self, text: list[list[str]], order: int) -> None:
        padded = [(BEGIN, *sentence, END) for sentence in text]
        raw = [
            Counter(words[i : i + n] for words in padded for i in range(len(words) - n + 1))
            for n in range(1, order + 1)
        ]
        self.words = {word for words in padded for word in words} - {BEGIN} | {"<unk>"}
        self.counts: list[dict[tuple[str, ...], int]] = []
        for n in range(1, order + 1):
            if n == order:
                counts = dict(raw[n - 1])
            else:
                left = Counter(ngram[1:] for ngram in raw[n])
                counts = {ngram: raw[n - 1][ngram] if ngram[0] == BEGIN else left[ngram] for ngram in raw[n - 1]}
            counts.pop((BEGIN,), None)
            self.counts.append(counts)
        self.discounts = [self.discount(Counter(counts.values())) for counts in self.counts]

    @staticmethod
    def discount(of_counts: Counter[int]) -> list[float]:
        n = [0, *(of_counts[k] for k in (1, 2, 3, 4))]
        if 0 in n[1:]:
            return [0.0, 0.5, 1.0, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        d = [0.0, *(k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))]
        return d if all(0 < d[k] < k for k in (1, 2, 3)) else [0.0, 0.5, 1.0, 1.5]

    def probability(self, word: str, history: tuple[str, ...]) -> float:
        counts, discount = self.counts[len(history)], self.discounts[len(history)]
        lower = self.probability(word, history[1:]) if history else 1 / len(self.words)
        following = {w: counts[(*history, w)] for w in self.words if counts.get((*history, w), 0)}
        total = sum(following.values())
        if not total:
            return lower
        gamma = sum(discount[min(count, 3)] for count in following.values()) / total
        count = following.get(word, 0)
        return (count - discount[min(count, 3)]) / total + gamma * lower


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_after_every_history_sum_to_one(order):
    text = zipf_text(60, seed=1)
    model = estimate_ngrams(text, order)
    vocabulary = [word for word in model.log_probabilities[0] if word != BEGIN]
    histories = {tuple(ngram.split(" ")) for section in model.log_probabilities[:-1] for ngram in section}
    histories |= {(), ("W1", "<unk>"), ("<unk>", "<unk>", "W2"), ("NEVER", "SEEN")}
    for history in histories:
        assert sum(10 ** model.log10_probability(word, history) for word in vocabulary) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("sentences", "order"), [(3, 2), (30, 3), (400, 1), (400, 2), (400, 3), (150, 5)])
def test_equals_the_plain_formula_everywhere(sentences, order):
    text = zipf_text(sentences, seed=sentences + order)
    model = estimate_ngrams(text, order)
    plain = PlainKneserNey(text, order)
    if sentences == 400 and order > 1:
        assert discounts(np.array(list(plain.counts[-1].values()))) != SMALL_TEXT  # the estimated ones are tested too
    rng = np.random.default_rng(0)
    words = sorted(plain.words)
    seen = [(BEGIN, *sentence, END) for sentence in text]
    for _ in range(300):
        sentence = seen[rng.integers(len(seen))]
        end = int(rng.integers(1, len(sentence)))
        history = sentence[max(0, end - order + 1) : end] if order > 1 else ()
        for word in (sentence[end], words[rng.integers(len(words))]):
            found = 10 ** model.log10_probability(word, history)
            assert found == pytest.approx(plain.probability(word, history), rel=1e-9)


def test_perplexity_equals_the_plain_formula():
    text, held_out = zipf_text(300, seed=5), zipf_text(50, seed=6)
    model, plain = estimate_ngrams(text, 3), PlainKneserNey(text, 3)
    logs = []
    for sentence in held_out:
        words = (BEGIN, *sentence, END)
        logs += [math.log(plain.probability(words[i], words[max(0, i - 2) : i])) for i in range(1, len(words))]
    measured = perplexity(model, held_out)
    assert measured.unknown_words == 0
    assert measured.tokens == len(logs)
    assert measured.value == pytest.approx(math.exp(-np.mean(logs)), rel=1e-9)


def test_bigram_by_hand():
    # Sentences A B, A B, A: bigrams <s>A 3, AB 2, A</s> 1, B</s> 2; too few for estimated discounts: 0.5, 1, 1.5.
    model = estimate_ngrams([["A", "B"], ["A", "B"], ["A"]], 2)
    # Words to the left: A 1 (<s>), B 1 (A), </s> 2 (A and B); 4 in all. Freed: 0.5 + 0.5 + 1 = 2, so gamma = 1/2,
    # spread over A, B, </s>, <unk>: 1/8 each.
    unigrams = {"A": 0.5 / 4 + 1 / 8, "B": 0.5 / 4 + 1 / 8, END: 1 / 4 + 1 / 8, "<unk>": 1 / 8}
    for word, probability in unigrams.items():
        assert 10 ** model.log10_probability(word, ()) == pytest.approx(probability)
    # After A: B 2, </s> 1. Freed 1 + 0.5 of 3.
    assert 10 ** model.backoffs["A"] == pytest.approx(1.5 / 3)
    assert 10 ** model.log10_probability("B", ("A",)) == pytest.approx((2 - 1) / 3 + 0.5 * unigrams["B"])
    assert 10 ** model.log10_probability(END, ("A",)) == pytest.approx((1 - 0.5) / 3 + 0.5 * unigrams[END])
    assert 10 ** model.log10_probability("A", ("A",)) == pytest.approx(0.5 * unigrams["A"])
    assert 10 ** model.log10_probability("<unk>", ("A",)) == pytest.approx(0.5 / 8)


def test_discounts_by_hand():
    # n1 to n4 are 8, 4, 2, 1: Y = 8 / 16; D1 = 1 - 2/2 * 4/8, D2 = 2 - 3/2 * 2/4, D3 = 3 - 4/2 * 1/2.
    counts = np.array([1] * 8 + [2] * 4 + [3] * 2 + [4] + [9])
    assert discounts(counts) == pytest.approx((0.5, 1.25, 2.0))


@pytest.mark.parametrize(
    "counts",
    [
        [],
        [1, 1, 1, 2, 3],  # no count of 4
        [2, 2, 3, 4],  # no count of 1
        [1] * 9 + [2] * 4 + [3] * 2 + [4] * 4,  # D3 = 3 - 4 * (9 / 17) * 4 / 2 < 0
        [1, 1, 2] + [3] * 9 + [4],  # D2 = 2 - 3 * (2 / 4) * 9 < 0
    ],
)
def test_discounts_stay_within_bounds(counts):
    found = discounts(np.array(counts, dtype=np.int64))
    assert all(0 < discount < value for value, discount in enumerate(found, start=1))


def test_small_text_takes_the_fallback():
    assert discounts(np.array([1, 1, 1, 2, 3])) == SMALL_TEXT
    assert discounts(np.array([1, 1, 2] + [3] * 9 + [4])) == SMALL_TEXT


def test_unseen_words_have_a_probability_and_bos_has_none():
    model = estimate_ngrams(zipf_text(50, seed=2), 3)
    unseen = 10 ** model.log10_probability("<unk>", (BEGIN,))
    assert 0 < unseen < 0.1
    assert model.log_probabilities[0][BEGIN] == -99


def test_unknown_word_in_the_text_counts_as_itself():
    model = estimate_ngrams([["A", "<unk>"], ["A", "B"]], 2)
    assert set(model.log_probabilities[0]) == {BEGIN, END, "<unk>", "A", "B"}
    assert "A <unk>" in model.log_probabilities[1]


def test_order_is_cut_to_the_longest_sentence():
    assert estimate_ngrams([["A"], ["B"], []], 5).order == 3  # <s> A </s>


def test_sentence_order_does_not_matter():
    text = zipf_text(80, seed=3)
    first, second = estimate_ngrams(text, 3), estimate_ngrams(text[::-1], 3)
    assert first == second


@pytest.mark.parametrize("text", [[], [[]], [[], []]])
def test_no_words_is_an_error(text):
    with pytest.raises(UserError, match="no words"):
        estimate_ngrams(text, 3)


@pytest.mark.parametrize("mark", [BEGIN, END])
def test_marks_within_a_sentence_are_an_error(mark):
    with pytest.raises(UserError, match="sentence 2"):
        estimate_ngrams([["A"], ["A", mark, "B"]], 3)


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_survives_writing_and_reading(tmp_path, name):
    model = estimate_ngrams(zipf_text(200, seed=4), 3)
    write_arpa(tmp_path / name, model)
    read = read_arpa(tmp_path / name)
    for written, found in zip(model.log_probabilities, read.log_probabilities, strict=True):
        assert list(found) == list(written)
        assert list(found.values()) == pytest.approx(list(written.values()), rel=1e-6)
    held_out = zipf_text(30, seed=7)
    assert perplexity(read, held_out).value == pytest.approx(perplexity(model, held_out).value, rel=1e-5)


def test_kaldilm_reads_it(tmp_path):
    """The path of least cost through G, given a sentence, is the model's own probability of it."""
    kaldilm = pytest.importorskip("kaldilm")
    kaldifst = pytest.importorskip("kaldifst")
    text = zipf_text(60, seed=8, words=6)
    model = estimate_ngrams(text, 3)
    words = sorted(model.log_probabilities[0].keys() - {BEGIN, END, "<unk>"})
    table = {word: label for label, word in enumerate(["<eps>", *words, "#0"])}
    (tmp_path / "words.txt").write_text("".join(f"{word} {label}\n" for word, label in table.items()))
    write_arpa(tmp_path / "lm.arpa", model)
    kaldilm.arpa2fst(
        str(tmp_path / "lm.arpa"),
        str(tmp_path / "G.fst"),
        disambig_symbol="#0",
        read_symbol_table=str(tmp_path / "words.txt"),
        max_arpa_warnings=0,
    )
    grammar = kaldifst.StdVectorFst.read(str(tmp_path / "G.fst"))
    for sentence in itertools.islice((s for s in zipf_text(20, seed=9, words=6) if s), 8):
        # Back-off costs are paid on arcs labelled #0: let the sentence take them anywhere.
        acceptor = kaldifst.StdVectorFst()
        for _ in range(len(sentence) + 1):
            acceptor.add_state()
        acceptor.start = 0
        backoff = table["#0"]
        for state in range(len(sentence) + 1):
            acceptor.add_arc(state, kaldifst.StdArc(backoff, backoff, 0.0, state))
            if state < len(sentence):
                label = table[sentence[state]]
                acceptor.add_arc(state, kaldifst.StdArc(label, label, 0.0, state + 1))
        acceptor.set_final(len(sentence), 0.0)
        # G reads #0 and writes epsilon: match it on its input side.
        kaldifst.arcsort(grammar, sort_type="ilabel")
        path = kaldifst.shortest_path(kaldifst.compose(acceptor, grammar))
        history = [BEGIN]
        cost = 0.0
        for word in (*sentence, END):
            cost -= model.log10_probability(word, history) * math.log(10)
            history.append(word)
        # Backing off where one need not can happen to cost a little less.
        assert path_cost(path) <= cost + 1e-3
        assert path_cost(path) == pytest.approx(cost, rel=0.02)


def path_cost(path) -> float:
    """Sum of the weights of a linear FST."""
    state, total = path.start, 0.0
    while True:
        arcs = list(arcs_of(path, state))
        if not arcs:
            return total + path.final(state).value
        total += arcs[0].weight.value
        state = arcs[0].nextstate


def arcs_of(fst, state):
    """Arcs that leave a state."""
    import kaldifst

    return kaldifst.ArcIterator(fst, state)
