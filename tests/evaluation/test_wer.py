"""Word error counts against a plain edit distance written here, and against values counted by hand."""

from __future__ import annotations

import doctest
import math
from functools import cache

import numpy as np
import pytest

from kd_asr.evaluation import wer
from kd_asr.evaluation.wer import GAP, WordErrors, align_words, score_words, total_errors


def edit_distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Straight from the definition, by recursion over prefixes."""

    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        )

    return distance(len(a), len(b))


def test_against_plain_edit_distance() -> None:
    generator = np.random.default_rng(3)
    for _ in range(500):
        vocabulary = [f"W{index}" for index in range(generator.integers(1, 6))]
        reference = tuple(generator.choice(vocabulary, generator.integers(0, 12)).tolist())
        hypothesis = tuple(generator.choice(vocabulary, generator.integers(0, 12)).tolist())
        aligned = align_words(reference, hypothesis)
        errors = aligned.errors
        assert errors.errors == edit_distance(reference, hypothesis)
        assert errors.reference_words == len(reference)
        assert errors.hits + errors.substitutions + errors.insertions == len(hypothesis)
        # The rendering holds the same words and shows the same errors.
        assert tuple(word for word in aligned.reference if word != GAP) == reference
        assert tuple(word for word in aligned.hypothesis if word != GAP) == hypothesis
        pairs = list(zip(aligned.reference, aligned.hypothesis, strict=True))
        assert sum(r == GAP for r, _ in pairs) == errors.insertions
        assert sum(h == GAP for _, h in pairs) == errors.deletions
        assert sum(r == h for r, h in pairs) == errors.hits
        assert (GAP, GAP) not in pairs


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("A B C", "A B C", WordErrors(hits=3)),
        ("A B C", "A X C", WordErrors(substitutions=1, hits=2)),
        ("A B C", "A C", WordErrors(deletions=1, hits=2)),
        ("A C", "A B C", WordErrors(insertions=1, hits=2)),
        ("A B", "", WordErrors(deletions=2)),
        ("", "A B", WordErrors(insertions=2)),
        ("", "", WordErrors()),
        ("A", "a", WordErrors(substitutions=1)),
    ],
)
def test_by_hand(reference: str, hypothesis: str, expected: WordErrors) -> None:
    assert score_words(reference.split(), hypothesis.split()) == expected


def test_wer_of_a_set_is_the_wer_of_the_sum() -> None:
    total = total_errors([WordErrors(1, 0, 0, 0), WordErrors(0, 1, 2, 7)])
    assert total == WordErrors(1, 1, 2, 7)
    assert total.reference_words == 9
    assert total.wer == pytest.approx(4 / 9)
    assert total_errors([]) == WordErrors()


def test_wer_without_reference_words() -> None:
    assert WordErrors().wer == 0.0
    assert WordErrors(insertions=2).wer == math.inf
    # Yet it counts within a set.
    assert (WordErrors(insertions=2) + WordErrors(hits=4)).wer == 0.5


def test_a_word_with_a_space_stays_one_word() -> None:
    assert score_words(["NEW YORK"], ["NEW", "YORK"]).reference_words == 1


def test_docstring_example() -> None:
    assert doctest.testmod(wer).failed == 0
