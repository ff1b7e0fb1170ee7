"""Phones in time as text."""

from __future__ import annotations

import contextlib
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from kd_asr.alignment.ctm import TimedPhone, in_seconds, read_ctm, write_ctm
from kd_asr.alignment.store import PhoneSegment
from kd_asr.errors import UserError


def test_kaldis_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "phones.ctm"
    path.write_text(";; comment\nutt-2 1 0.230 0.090 IH1_B 0.98\nutt-2 1 0.000 0.230 SIL\n\nutt-1 A 0.00 1.5 SIL\n")
    assert read_ctm(path) == {
        "utt-2": [TimedPhone("SIL", 0.0, 0.23), TimedPhone("IH1_B", 0.23, 0.09)],
        "utt-1": [TimedPhone("SIL", 0.0, 1.5)],
    }


def test_written_phones_read_back(tmp_path: Path) -> None:
    phones = in_seconds([PhoneSegment("SIL", 0, 23), PhoneSegment("AH0", 23, 4)], 0.01)
    write_ctm(tmp_path / "phones.ctm", [("a", phones), ("b", phones[:1])])
    text = (tmp_path / "phones.ctm").read_text(encoding="utf-8")
    assert text == "a 1 0.000 0.230 SIL\na 1 0.230 0.040 AH0\nb 1 0.000 0.230 SIL\n"
    assert read_ctm(tmp_path / "phones.ctm") == {"a": phones, "b": phones[:1]}


def test_an_id_stays_one_field_and_confidence_is_the_sixth(tmp_path: Path) -> None:
    for name, field in (("my file", "my_file"), ("a\nb 1 0 1 X", "a_b_1_0_1_X"), (";;a", "_;a"), ("\x07", "_")):
        write_ctm(tmp_path / "words.ctm", [(name, [TimedPhone("HI", 0.0, 0.1, 0.98765)])])
        assert (tmp_path / "words.ctm").read_text() == f"{field} 1 0.000 0.100 HI 0.9877\n"
        assert read_ctm(tmp_path / "words.ctm") == {field: [TimedPhone("HI", 0.0, 0.1)]}


@given(st.binary(max_size=100) | st.text("ab 10.\n;-n", max_size=60).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_phones_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "any.ctm").write_bytes(content)
    with contextlib.suppress(UserError):
        assert all(item.start >= 0 for phones in read_ctm(tmp_path / "any.ctm").values() for item in phones)


@pytest.mark.parametrize("line", ["utt 1 0.0 0.1", "utt 1 zero 0.1 SIL", "utt 1 nan 0.1 SIL", "utt 1 0.0 -0.1 SIL"])
def test_malformed_lines_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "phones.ctm"
    path.write_text(f"utt 1 0.0 0.1 SIL\n{line}\n")
    with pytest.raises(UserError, match=r"phones\.ctm, line 2"):
        read_ctm(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_ctm(tmp_path / "none.ctm")
