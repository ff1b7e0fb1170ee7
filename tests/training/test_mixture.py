"""Two kinds of examples in a given proportion."""

from collections import Counter
from itertools import islice

import pytest
import torch

from kd_asr.training.examples import Examples, Mixture, batches, batches_per_epoch


def numbers(
    first: int, second: int, share: float, *, size: int, seed: int, epoch: int, skip: int = 0
) -> list[list[int]]:
    """Example numbers of the batches of an epoch."""
    count = first + second
    examples = Examples(torch.zeros(count, 1), torch.arange(count), mixture=Mixture(first, share))
    return [batch.examples.tolist() for batch in batches(examples, batch_size=size, seed=seed, epoch=epoch, skip=skip)]


@pytest.mark.parametrize(("first", "second", "share"), [(7, 60, 0.5), (60, 7, 0.3), (5, 5, 0.125), (3, 97, 0.9)])
def test_batches_have_the_share_and_all_examples_of_a_kind_come_equally_often(first, second, share) -> None:
    size = 8
    drawn = [batch for epoch in range(40) for batch in numbers(first, second, share, size=size, seed=3, epoch=epoch)]
    assert len(drawn) == 40 * batches_per_epoch(first + second, size)
    assert all(len(batch) == size for batch in drawn)
    of_first = [sum(number < first for number in batch) for batch in drawn]
    assert all(abs(count - size * share) < 1 for count in of_first)
    assert abs(sum(of_first) - size * share * len(drawn)) <= 1
    counts = Counter(number for batch in drawn for number in batch)
    for kind in (range(first), range(first, first + second)):
        often = [counts[number] for number in kind]
        assert max(often) - min(often) <= 1  # passes of each kind, the last one unfinished


def test_the_order_depends_on_seed_and_number_alone_so_that_it_can_be_taken_up_anywhere() -> None:
    whole = numbers(13, 50, 0.4, size=6, seed=1, epoch=2)
    for skip in range(len(whole)):
        assert numbers(13, 50, 0.4, size=6, seed=1, epoch=2, skip=skip) == whole[skip:]
    assert numbers(13, 50, 0.4, size=6, seed=2, epoch=2) != whole
    assert numbers(13, 50, 0.4, size=6, seed=1, epoch=3) != whole


def test_without_a_mixture_the_order_is_what_it_was() -> None:
    examples = Examples(torch.zeros(20, 1), torch.arange(20))
    found = [batch.examples.tolist() for batch in islice(batches(examples, batch_size=8, seed=5, epoch=1), 3)]
    order = torch.randperm(20, generator=torch.Generator().manual_seed(5 * 1_000_003 + 1)).tolist()
    assert found == [order[:8], order[8:16]]
