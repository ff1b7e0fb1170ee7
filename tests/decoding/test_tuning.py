import itertools

import pytest

from kd_asr.decoding.tuning import choose_on_grid

SCALES = (0.07, 0.09, 0.11, 0.13, 0.16, 0.2)
PENALTIES = (-0.5, 0.0, 0.5, 1.0)


@pytest.mark.parametrize("best", list(itertools.product(SCALES, PENALTIES)))
@pytest.mark.parametrize("start", [None, (0.2, 1.0), (0.08, -9.0)])
def test_the_bottom_of_a_bowl_is_found_with_few_decodings(best, start) -> None:
    calls = []

    def wer(scale: float, penalty: float) -> float:
        calls.append((scale, penalty))
        return 0.3 + 10 * (scale - best[0]) ** 2 + 0.05 * (penalty - best[1]) ** 2

    choice = choose_on_grid(wer, SCALES, PENALTIES, start=start)
    assert (choice.acoustic_scale, choice.insertion_penalty) == best
    assert choice.wer == 0.3
    assert len(calls) == len(set(calls)) == len(choice.grid)
    assert len(calls) <= 14


def test_begun_at_the_best_point_it_decodes_the_point_and_its_neighbours_only() -> None:
    def wer(scale: float, penalty: float) -> float:
        return abs(scale - 0.11) + abs(penalty)

    choice = choose_on_grid(wer, SCALES, PENALTIES, start=(0.11, 0.0))
    assert set(choice.grid) == {(0.11, 0.0), (0.13, 0.0), (0.09, 0.0), (0.11, 0.5), (0.11, -0.5)}


def test_equal_points_leave_the_first_and_a_single_point_is_decoded() -> None:
    choice = choose_on_grid(lambda scale, penalty: 0.5, SCALES, PENALTIES)
    assert (choice.acoustic_scale, choice.insertion_penalty) == (0.13, 0.0)
    choice = choose_on_grid(lambda scale, penalty: 0.5, [0.1], [2.0])
    assert choice.grid == {(0.1, 2.0): 0.5}
