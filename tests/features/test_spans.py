import torch
from hypothesis import given
from hypothesis import strategies as st

from kd_asr.features.spans import Spans


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=8))
def test_rows_are_those_of_the_ranges_one_after_the_other(spans: list[tuple[int, int]]) -> None:
    ranges = [range(start, start + length) for start, length in spans]
    expected = [row for span in ranges for row in span]
    found = Spans(ranges)
    assert len(found) == len(expected)
    assert found.rows(torch.arange(len(expected))).tolist() == expected
    assert found.rows(torch.arange(len(expected)).flip(0)).tolist() == expected[::-1]
