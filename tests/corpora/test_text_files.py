"""Fields of text files."""

from __future__ import annotations

import pytest

from kd_asr.alignment.ctm import read_ctm
from kd_asr.corpora.text_files import decimal
from kd_asr.errors import UserError
from kd_asr.evaluation.transcripts import read_pair

NO_NUMBERS = ("1_0", "\u0663.5", "nan", "inf", "-inf", "1e999", "0x10", "", "1,5", " 1", "1.0.0")


@pytest.mark.parametrize("text", ["0", "-1", "+.5", "10.", "1e-3", "007.5"])
def test_numbers_are_read(text: str) -> None:
    assert decimal(text) == float(text)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        decimal(text)


@pytest.mark.parametrize("text", ["1_0", "\u0663.5", "nan", "1e999"])
def test_times_that_are_none_are_named_in_ctm(tmp_path, text: str) -> None:
    path = tmp_path / "a.ctm"
    path.write_text(f"u1 1 0.5 0.2 one\nu1 1 {text} 0.2 two\n", encoding="utf-8")
    for read in (lambda: read_ctm(path), lambda: read_pair(path, path)):
        with pytest.raises(UserError, match=r"a\.ctm, line 2: not `utterance channel start duration"):
            read()
