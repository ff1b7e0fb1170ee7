"""Words that cannot be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd_asr.alignment.doubts import doubts, longest_phone
from kd_asr.alignment.store import Alignment, AlignmentStore, PhoneSegment, write_alignments
from kd_asr.alignment.words import WordSegment


def test_what_no_phone_lasts_is_seen_in_the_training_set(tmp_path: Path) -> None:
    phones = (PhoneSegment("SIL", 0, 500), PhoneSegment("A", 500, 20), PhoneSegment("B", 520, 8))
    write_alignments(tmp_path, [Alignment(f"u{number}", np.zeros(528), phones) for number in range(40)])
    assert longest_phone(AlignmentStore.open(tmp_path)) == 3 * 20


def test_long_phones_and_low_posteriors_speak_against_a_word() -> None:
    phones = [
        PhoneSegment("SIL", 0, 900),
        PhoneSegment("A", 900, 10),
        PhoneSegment("B", 910, 300),
        PhoneSegment("SIL", 1210, 900),
        PhoneSegment("A", 2110, 10),
        PhoneSegment("A", 2120, 10),
    ]
    words = [WordSegment("AB", 900, 310, 0.5), WordSegment("A", 2110, 10, 0.4), WordSegment("A", 2120, 10, 0.001)]
    found = doubts(words, phones, longest=60, frame_shift=0.01)
    assert found == {0: "one of its phones lasts 3.00 s", 2: "its mean posterior is 0.001"}
