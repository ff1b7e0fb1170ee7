"""Estimating an n-gram language model: interpolated modified Kneser-Ney smoothing.

S. F. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling", Computer Speech and
Language 13 (1999), sections 2.7 and 3, equations 16 to 26.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kd_asr.decoding.arpa import BEGIN, END, UNKNOWN, ArpaModel
from kd_asr.errors import UserError

Ngram = tuple[str, ...]
Counts = Mapping[Ngram, int]
UNKNOWN_WORD = UNKNOWN[0]
# log10 p(<s>): it is never predicted, but a unigram must have a probability.
_NEVER = -99.0


@dataclass(frozen=True)
class Discounts:
    """What is taken off a count of one, two, and three or more."""

    one: float
    two: float
    more: float

    def of(self, count: int) -> float:
        """The discount of a count of at least 1."""
        return (self.one, self.two, self.more)[min(count, 3) - 1]


# For text too small to estimate them: the middle of the range 0 < D < count.
SMALL_TEXT = Discounts(0.5, 1.0, 1.5)


def discounts(counts: Counts) -> Discounts:
    """Chen and Goodman's equation 26: D1, D2 and D3+ from the numbers n1 ... n4 of n-grams that occur 1 ... 4 times.

    They are `SMALL_TEXT` where the equation cannot be used: one of n1 ... n4 is 0, or a discount is not between 0 and
    its count (exclusive), so that nothing would be left for unseen words or for the n-gram itself.
    """
    occurring = Counter(counts.values())
    n1, n2, n3, n4 = (occurring[times] for times in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return SMALL_TEXT
    share = n1 / (n1 + 2 * n2)
    found = Discounts(1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3)
    if not (0 < found.one < 1 and 0 < found.two < 2 and 0 < found.more < 3):
        return SMALL_TEXT
    return found


def count_ngrams(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Ngram]]:
    """How often each n-gram occurs, for n = 1 ... `order`, each sentence between one `<s>` and one `</s>`.

    Raises:
        UserError: a sentence contains `<s>` or `</s>` itself, or there is no sentence.
    """
    counts: list[Counter[Ngram]] = [Counter() for _ in range(order)]
    number = 0
    for number, sentence in enumerate(sentences, start=1):
        if BEGIN in sentence or END in sentence:
            raise UserError(f"training text, sentence {number}: {BEGIN} and {END} must not stand inside a sentence")
        words = (BEGIN, *sentence, END)
        for length, counter in enumerate(counts, start=1):
            counter.update(words[start : start + length] for start in range(len(words) - length + 1))
    if not number:
        raise UserError("there is no sentence to estimate a language model from")
    return counts


def kneser_ney_counts(counts: Sequence[Counter[Ngram]]) -> list[Counter[Ngram]]:
    """The counts that each order is estimated from.

    The highest order keeps its counts. Below it, an n-gram counts once for each different word that precedes it
    (equation 18), unless it begins with `<s>`, which nothing precedes: such a one keeps its count. `<s>` alone is left
    out: it is never predicted.
    """
    adjusted = []
    for lower, longer in zip(counts, counts[1:], strict=False):
        preceded: Counter[Ngram] = Counter(ngram[1:] for ngram in longer)
        preceded.update({ngram: count for ngram, count in lower.items() if ngram[0] == BEGIN})
        adjusted.append(preceded)
    adjusted.append(Counter(counts[-1]))
    adjusted[0].pop((BEGIN,), None)
    return adjusted


def estimate_ngrams(sentences: Iterable[Sequence[str]], order: int) -> ArpaModel:
    """An interpolated modified Kneser-Ney model of some text.

    The vocabulary is the text's words, `</s>` and `<unk>`; unigrams are interpolated with the uniform distribution over
    it, so `<unk>` gets what an unseen word deserves. Each order has discounts of its own. As all interpolated weights
    stand in the n-grams' probabilities and in the back-off weights, reading the model as a back-off model gives the
    interpolated probabilities exactly.

    Args:
        sentences: lists of words.
        order: length of the longest n-grams; less if no sentence is long enough for it.

    Raises:
        UserError: there is no sentence, or one contains `<s>` or `</s>`.
    """
    counts = [counter for counter in count_ngrams(sentences, order) if counter]
    vocabulary = {ngram[0] for ngram in counts[0]} - {BEGIN} | {UNKNOWN_WORD}
    log_probabilities: list[dict[str, float]] = []
    backoffs: dict[str, float] = {}
    # p(w | h') of the next shorter histories; below the unigrams stands the uniform distribution.
    shorter: dict[Ngram, float] = {}
    for length, adjusted in enumerate(kneser_ney_counts(counts), start=1):
        discount = discounts(adjusted)
        totals: defaultdict[Ngram, int] = defaultdict(int)
        freed: defaultdict[Ngram, float] = defaultdict(float)
        for ngram, count in adjusted.items():
            totals[ngram[:-1]] += count
            freed[ngram[:-1]] += discount.of(count)
        weights = {history: freed[history] / total for history, total in totals.items()}
        if length == 1:
            uniform = weights[()] / len(vocabulary)
            probabilities = {(word,): uniform for word in sorted(vocabulary)}
            for ngram, count in adjusted.items():
                probabilities[ngram] = uniform + (count - discount.of(count)) / totals[()]
        else:
            probabilities = {}
            for ngram, count in sorted(adjusted.items()):
                history = ngram[:-1]
                backed_off = weights[history] * shorter[ngram[1:]]
                probabilities[ngram] = backed_off + (count - discount.of(count)) / totals[history]
            backoffs.update((" ".join(history), math.log10(weight)) for history, weight in weights.items())
        section = {" ".join(ngram): math.log10(value) for ngram, value in probabilities.items()}
        log_probabilities.append({BEGIN: _NEVER, **section} if length == 1 else section)
        shorter = probabilities
    return ArpaModel(tuple(log_probabilities), backoffs)
