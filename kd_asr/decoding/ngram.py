"""Estimating an n-gram language model: interpolated modified Kneser-Ney smoothing.

S. F. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling", Computer Speech and Language
13 (1999), section 3: with a the counts of an order (those of the text for the longest n-grams, the number of different
words to the left for all others),

    p(w | h) = (a(hw) - D(a(hw))) / sum_v a(hv) + gamma(h) p(w | h without its first word)
    gamma(h) = (D1 N1(h) + D2 N2(h) + D3 N3+(h)) / sum_v a(hv)

where Nk(h) is the number of words that follow h with a = k. Unigrams back off to the uniform distribution over the
words of the text, `</s>` and `<unk>`, so that unseen words have a probability as well. As gamma is the back-off weight,
a back-off model gives these probabilities exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kd_asr.decoding.arpa import BEGIN, END, NEVER, UNKNOWN, ArpaModel
from kd_asr.errors import UserError

# The first words of every vocabulary.
SPECIALS = (BEGIN, END, UNKNOWN[0])
# D1, D2, D3+ where the text is too small to estimate them: the middle of their ranges, as in KenLM's
# `lmplz --discount_fallback`.
SMALL_TEXT = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class _Order:
    """The different n-grams of one length n, sorted by the numbers of their words.

    Attributes:
        prefix: (ngrams,) int64, for each its first n - 1 words, as an index into the order below; 0 for unigrams.
        suffix: (ngrams,) int64, its last n - 1 words likewise.
        last: (ngrams,) int64, its last word.
        occurrences: (ngrams,) int64, how often it is predicted in the text.
        begins: (ngrams,) bool, whether its first word is `<s>`.
    """

    prefix: NDArray[np.int64]
    suffix: NDArray[np.int64]
    last: NDArray[np.int64]
    occurrences: NDArray[np.int64]
    begins: NDArray[np.bool_]


def estimate_ngrams(sentences: Iterable[Sequence[str]], order: int) -> ArpaModel:
    """Estimate an interpolated modified Kneser-Ney model of a text, without pruning.

    Each order has its own discounts.

    Args:
        sentences: lists of words, without `<s>` and `</s>`; `<unk>` among them counts as the unknown word.
        order: length of the longest n-grams; less where no sentence is long enough.

    Raises:
        UserError: there are no words, or a sentence contains `<s>` or `</s>`.
    """
    text = [tuple(sentence) for sentence in sentences]
    if not any(text):
        raise UserError("there are no words to estimate a language model from")
    for number, sentence in enumerate(text, start=1):
        if BEGIN in sentence or END in sentence:
            raise UserError(f"training text, sentence {number}: {BEGIN} and {END} must not stand inside a sentence")
    words = (*SPECIALS, *sorted({word for sentence in text for word in sentence} - set(SPECIALS)))
    orders = _count(text, words, order)
    shorter = np.array([1 / (len(words) - 1)])  # every word but <s>
    names: list[str] = [""]
    log_probabilities: list[dict[str, float]] = []
    backoffs: dict[str, float] = {}
    for length, (level, count) in enumerate(zip(orders, _kneser_ney_counts(orders), strict=True), start=1):
        kept, gamma = _discounted(level.prefix, count, len(names))
        probability = kept + gamma[level.prefix] * shorter[level.suffix]
        log_probability = np.log10(probability)
        if length == 1:
            names = list(words)
            log_probability[words.index(BEGIN)] = NEVER  # never predicted, but a unigram must have a number
        else:
            # A history that nothing follows backs off with weight 1, which need not be written.
            followed = np.flatnonzero(gamma)
            weights = np.log10(gamma[followed]).tolist()
            backoffs.update(zip((names[history] for history in followed), weights, strict=True))
            names = [f"{names[history]} {words[word]}" for history, word in zip(level.prefix, level.last, strict=True)]
        log_probabilities.append(dict(zip(names, log_probability.tolist(), strict=True)))
        shorter = probability
    return ArpaModel(tuple(log_probabilities), backoffs)


def _count(text: Sequence[Sequence[str]], words: Sequence[str], order: int) -> list[_Order]:
    """The n-grams of each length up to `order` that occurs."""
    number = {word: index for index, word in enumerate(words)}
    lengths = np.array([len(sentence) + 2 for sentence in text])
    stream = np.array([number[word] for sentence in text for word in (BEGIN, *sentence, END)], dtype=np.int64)
    position = np.arange(len(stream)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    occurrences = np.bincount(stream, minlength=len(words))
    occurrences[number[BEGIN]] = 0
    nothing = np.zeros(len(words), dtype=np.int64)
    begins = np.arange(len(words)) == number[BEGIN]
    levels = [_Order(nothing, nothing, np.arange(len(words)), occurrences, begins)]
    ending_here = stream  # for each token, the number of the n-gram that ends there
    for length in range(2, order + 1):
        whole = np.flatnonzero(position >= length - 1)
        if not len(whole):
            break
        keys = ending_here[whole - 1] * len(words) + stream[whole]
        distinct, first, inverse, occurrences = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        prefix = distinct // len(words)
        suffix = ending_here[whole[first]]
        levels.append(_Order(prefix, suffix, distinct % len(words), occurrences, levels[-1].begins[prefix]))
        ending_here = np.full(len(stream), -1, dtype=np.int64)
        ending_here[whole] = inverse.reshape(-1)
    return levels


def _kneser_ney_counts(levels: Sequence[_Order]) -> list[NDArray[np.int64]]:
    """Counts a of each order: those of the text for the longest n-grams, else numbers of different words to the left.

    Nothing can precede an n-gram that begins with `<s>`, so it keeps the count of the text.
    """
    counts = [
        np.where(level.begins, level.occurrences, np.bincount(longer.suffix, minlength=len(level.last)))
        for level, longer in pairwise(levels)
    ]
    return [*counts, levels[-1].occurrences]


def discounts(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """D1, D2 and D3+ from the numbers n1 ... n4 of n-grams whose count is 1 ... 4.

    They are `SMALL_TEXT` where the equation cannot be used, because one of n1 ... n4 is 0, or a discount is not between
    0 and its count (exclusive), so that nothing would be left for unseen words or for the n-gram itself.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == value)) for value in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return SMALL_TEXT
    share = n1 / (n1 + 2 * n2)
    found = (1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3)
    if not all(0 < discount < value for value, discount in enumerate(found, start=1)):
        return SMALL_TEXT
    return found


def _discounted(
    prefix: NDArray[np.int64], count: NDArray[np.int64], histories: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ngrams,) share of its history's mass that each n-gram keeps, and (histories,) gamma, the remaining share."""
    discount = np.array((0.0, *discounts(count)))[np.minimum(count, 3)]
    # If nothing follows a history, both its sums and its gamma are 0.
    total = np.maximum(np.bincount(prefix, count, histories), 1)
    return (count - discount) / total[prefix], np.bincount(prefix, discount, histories) / total
