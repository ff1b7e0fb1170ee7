from itertools import pairwise

import numpy as np
import pytest

from kd_asr.corpora.subsets import subset_of_frames, subset_of_utterances

COUNTS = [int(count) for count in np.random.default_rng(0).integers(100, 2000, size=300)]
FRACTIONS = (0.03, 0.1, 0.3, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_smaller_parts_lie_inside_larger_ones(seed: int) -> None:
    for parts in (
        [set(subset_of_utterances(COUNTS, fraction, seed=seed)) for fraction in FRACTIONS],
        [set(subset_of_frames(5000, fraction, seed=seed)) for fraction in FRACTIONS],
    ):
        assert all(small < large for small, large in pairwise(parts))


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_a_part_of_utterances_misses_its_size_by_less_than_an_utterance(fraction: float) -> None:
    drawn = subset_of_utterances(COUNTS, fraction, seed=3)
    assert abs(sum(COUNTS[number] for number in drawn) - fraction * sum(COUNTS)) <= max(COUNTS) / 2
    assert list(drawn) == sorted(set(drawn))


def test_a_part_of_frames_has_its_size() -> None:
    assert [len(subset_of_frames(5000, fraction, seed=1)) for fraction in FRACTIONS] == [150, 500, 1500, 5000]


def test_all_is_all_and_nothing_is_one() -> None:
    assert list(subset_of_utterances(COUNTS, 1.0, seed=1)) == list(range(len(COUNTS)))
    assert len(subset_of_utterances(COUNTS, 1e-9, seed=1)) == 1


def test_the_seed_decides() -> None:
    assert list(subset_of_utterances(COUNTS, 0.1, seed=1)) == list(subset_of_utterances(COUNTS, 0.1, seed=1))
    assert list(subset_of_utterances(COUNTS, 0.1, seed=1)) != list(subset_of_utterances(COUNTS, 0.1, seed=2))
