"""Agreement of an alignment with a reference, on sequences small enough to count by hand."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from kd_asr.alignment.compare import Agreement, compare, plain_phone
from kd_asr.alignment.ctm import TimedPhone, in_seconds
from kd_asr.alignment.store import PhoneSegment


def _segments(*phones: tuple[str, int]) -> list[PhoneSegment]:
    found, start = [], 0
    for phone, frames in phones:
        found.append(PhoneSegment(phone, start, frames))
        start += frames
    return found


@pytest.mark.parametrize(
    ("phone", "plain"), [("IH1_B", "IH"), ("N_E", "N"), ("SIL", "SIL"), ("AH0", "AH"), ("SPN_S", "SPN"), ("B", "B")]
)
def test_marks_and_stress_are_taken_off(phone: str, plain: str) -> None:
    assert plain_phone(phone) == plain


def test_an_alignment_agrees_with_itself() -> None:
    random = Random(1)
    segments = _segments(*((random.choice(["SIL", "AH0", "N", "T"]), random.randint(1, 30)) for _ in range(40)))
    agreement = compare(segments, in_seconds(segments, 0.01), frame_shift=0.01)
    assert agreement.agreeing == agreement.frames == sum(item.num_frames for item in segments)
    assert agreement.boundaries == len(agreement.errors) == 39
    assert max(map(abs, agreement.errors)) < 1e-9


def test_counted_by_hand() -> None:
    ours = _segments(("SIL", 10), ("HH", 5), ("AY1", 20), ("SIL", 5))
    # 10 ms later, then 20 ms earlier; and the last boundary is 30 ms later.
    reference = [
        TimedPhone("SIL", 0.0, 0.11),
        TimedPhone("HH_B", 0.11, 0.02),
        TimedPhone("AY2_E", 0.13, 0.25),
        TimedPhone("SIL", 0.38, 0.02),
    ]
    agreement = compare(ours, reference, frame_shift=0.01)
    assert (agreement.frames, agreement.agreeing) == (40, 40 - 1 - 2 - 3)
    assert agreement.errors == pytest.approx((-0.01, 0.02, -0.03))
    assert agreement.figures() == {
        "frames": 40,
        "frame_agreement": 0.85,
        "boundaries": 3,
        "boundaries_matched": 3,
        "boundary_error_mean_ms": 20.0,
        "boundary_error_median_ms": 20.0,
        "boundary_bias_ms": -10.0,
        "boundaries_within_20_ms": 0.6667,
    }


def test_boundaries_count_only_between_the_same_two_phones() -> None:
    ours = _segments(("SIL", 5), ("K", 5), ("AE1", 5), ("T", 5), ("SIL", 5), ("S", 5), ("IH1", 5))
    reference = in_seconds(
        _segments(("SIL", 5), ("K", 5), ("AE1", 5), ("T", 8), ("S", 7), ("IH1", 5)), 0.01
    )  # no pause between T and S
    agreement = compare(ours, reference, frame_shift=0.01)
    assert agreement.boundaries == 5
    assert agreement.errors == pytest.approx((0.0, 0.0, 0.0, 0.0))  # SIL-K, K-AE, AE-T and S-IH; not T-S
    assert agreement.agreeing == 35 - 5


def test_true_times_are_compared_with_the_middle_of_the_analysis_window() -> None:
    # Window 25 ms, shift 10 ms: frame n is centred at 12.5 + 10 n ms, so a change at 107.5 ms lies before frame 10.
    ours = _segments(("SIL", 10), ("AA1", 10))
    reference = [TimedPhone("SIL", 0.0, 0.1075), TimedPhone("AA1", 0.1075, 0.12)]
    agreement = compare(ours, reference, frame_shift=0.01, first_frame=0.0075)
    assert agreement.agreeing == 20
    assert agreement.errors == pytest.approx((0.0,))


def test_frames_outside_the_reference_disagree() -> None:
    ours = _segments(("SIL", 10))
    assert compare(ours, [TimedPhone("SIL", 0.02, 0.05)], frame_shift=0.01).agreeing == 5
    assert compare(ours, [], frame_shift=0.01) == Agreement(10, 0, 0, ())


def test_frame_agreement_equals_a_frame_by_frame_count() -> None:
    random = Random(4)
    for _ in range(20):
        ours = _segments(*((random.choice("ABC"), random.randint(1, 9)) for _ in range(12)))
        frames = sum(item.num_frames for item in ours)
        cuts = [0, *sorted(random.sample(range(1, frames), 8)), frames]
        theirs = [TimedPhone(random.choice("ABC"), start / 100, (end - start) / 100) for start, end in pairwise(cuts)]
        mine = [item.phone for item in ours for _ in range(item.num_frames)]
        other = [item.phone for item in theirs for _ in range(round(item.duration * 100))]
        expected = sum(left == right for left, right in zip(mine, other, strict=True))
        assert compare(ours, theirs, frame_shift=0.01).agreeing == expected


def test_sums_and_nothing_at_all() -> None:
    one, two = Agreement(10, 5, 3, (0.01,)), Agreement(30, 25, 2, (-0.03, 0.02))
    assert one + two == Agreement(40, 30, 5, (0.01, -0.03, 0.02))
    assert Agreement().figures()["frame_agreement"] == 0.0
