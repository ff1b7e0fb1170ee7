"""Word error rate: word alignment by minimum edit distance, counted per utterance and summed over a set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jiwer

# Placeholder where one side of an alignment has no word.
GAP = "***"
# Words are compared as they are: jiwer gets them joined by line ends and only splits them again, so a word may contain
# any other character.
_WORDS = jiwer.ReduceToListOfListOfWords(word_delimiter="\n")


@dataclass(frozen=True)
class WordErrors:
    """Counts of an alignment; `a + b` adds the counts of both.

    The number of errors is the minimum edit distance and therefore unique. How it splits into substitutions, deletions
    and insertions is not: among alignments of equal cost, the one that jiwer finds is counted.

    Attributes:
        substitutions: reference words aligned with another word.
        deletions: reference words that the hypothesis lacks.
        insertions: hypothesis words that the reference lacks.
        hits: reference words recognised correctly.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    hits: int = 0

    @property
    def reference_words(self) -> int:
        """Number of reference words: substitutions + deletions + hits."""
        return self.substitutions + self.deletions + self.hits

    @property
    def errors(self) -> int:
        """Number of errors: substitutions + deletions + insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        """Errors per reference word, as a fraction (above 1 with many insertions).

        Without reference words it is 0 if there are no errors either, else infinite.
        """
        if self.reference_words == 0:
            return math.inf if self.errors else 0.0
        return self.errors / self.reference_words

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.hits + other.hits,
        )


@dataclass(frozen=True)
class AlignedWords:
    """Reference and hypothesis side by side: equal numbers of entries, `GAP` where a word has no partner."""

    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]
    errors: WordErrors


def align_words(reference: Sequence[str], hypothesis: Sequence[str]) -> AlignedWords:
    """Align two word sequences with the fewest errors; either may be empty.

    Words are compared exactly; the caller normalises case and punctuation.

    >>> aligned = align_words("THE CAT SAT".split(), "THE BAT ON SAT".split())
    >>> " ".join(aligned.reference), " ".join(aligned.hypothesis)
    ('THE *** CAT SAT', 'THE BAT ON SAT')
    """
    if not reference or not hypothesis:  # nothing to search, and the case that versions of jiwer disagree on
        return AlignedWords(
            reference=tuple(reference) or (GAP,) * len(hypothesis),
            hypothesis=tuple(hypothesis) or (GAP,) * len(reference),
            errors=WordErrors(deletions=len(reference), insertions=len(hypothesis)),
        )
    result = jiwer.process_words(
        "\n".join(reference), "\n".join(hypothesis), reference_transform=_WORDS, hypothesis_transform=_WORDS
    )
    reference_side: list[str] = []
    hypothesis_side: list[str] = []
    for chunk in result.alignments[0]:
        reference_words = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        hypothesis_words = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        length = max(len(reference_words), len(hypothesis_words))
        reference_side += [*reference_words, *[GAP] * (length - len(reference_words))]
        hypothesis_side += [*hypothesis_words, *[GAP] * (length - len(hypothesis_words))]
    errors = WordErrors(
        substitutions=result.substitutions,
        deletions=result.deletions,
        insertions=result.insertions,
        hits=result.hits,
    )
    return AlignedWords(tuple(reference_side), tuple(hypothesis_side), errors)


def score_words(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Errors of one utterance; either side may be empty."""
    return align_words(reference, hypothesis).errors


def total_errors(errors: Iterable[WordErrors]) -> WordErrors:
    """Sum over utterances, whose WER is that of the set; it is not the mean of the utterances' WERs."""
    return sum(errors, WordErrors())
