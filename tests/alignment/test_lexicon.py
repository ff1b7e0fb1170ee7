"""Reading, writing and choosing pronunciations."""

from __future__ import annotations

import contextlib
import gzip
import math
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from kd_asr.alignment.lexicon import Lexicon, merge, read_lexicon, select, with_positions, without_stress, write_lexicon
from kd_asr.alignment.topology import without_position
from kd_asr.errors import UserError

TEXT = """;;; an old comment
hello HH AH0 L OW1 # greeting
hello(2) HH EH0 L OW1
read R EH1 D
read(2) R IY1 D
read(3) R EH1 D

c.o.d. S IY1 OW1 D IY1
"""


def _file(folder: Path, content: bytes, name: str = "words.dict") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_words_variants_and_comments(tmp_path: Path) -> None:
    lexicon = read_lexicon(_file(tmp_path, TEXT.encode()))
    assert lexicon.pronunciations == {
        "HELLO": (("HH", "AH0", "L", "OW1"), ("HH", "EH0", "L", "OW1")),
        "READ": (("R", "EH1", "D"), ("R", "IY1", "D")),
        "C.O.D.": (("S", "IY1", "OW1", "D", "IY1"),),
    }


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
def test_gzipped_file_and_byte_order_mark(tmp_path: Path, prefix: bytes) -> None:
    plain = read_lexicon(_file(tmp_path, prefix + TEXT.encode()))
    zipped = read_lexicon(_file(tmp_path, gzip.compress(prefix + TEXT.encode()), "words.dict.gz"))
    assert plain == zipped
    assert set(plain.pronunciations) == {"HELLO", "READ", "C.O.D."}


def test_words_are_spelt_as_in_transcripts_and_no_words_are_left_out(tmp_path: Path) -> None:
    text = "don\u2019t D OW1 N T\ncafe\u0301 K AH0\n!SIL SIL\n<UNK> SPN\n[noise] SPN\nC# S IY1 # a note\n# a line\n"
    assert set(read_lexicon(_file(tmp_path, text.encode())).pronunciations) == {"DON'T", "CAF\u00c9", "C#"}


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_line_ends_change_nothing(tmp_path: Path, newline: str) -> None:
    expected = read_lexicon(_file(tmp_path, TEXT.encode()))
    assert read_lexicon(_file(tmp_path, TEXT.replace("\n", newline).encode())) == expected


KALDI = "the 1.0 DH AH0\nthe 0.2 DH IY1\ncat 1.0 K AE1 T\n!SIL 1.0 SIL\n<unk> 1 SPN\nread .5 R EH1 D\n"
KALDI += "read(2) 5e-1 R IY1 D"
MFA = "the\t0.99\t0.14\t1.0\t1.0\tDH AH0\nthe\t0.198\t0.2\t1.5\t0.7\tDH IY1\ncat\t0.99\t0.2\t1\t1.0\tK AE1 T\n"
MFA += "read\t0.5\t0.1\t1.0\t1.0\tR EH1 D\nread\t0.5\t0.1\t1.0\t1.0\tR IY1 D\n[bracketed]\t1\t1\t1\t1\tspn"


@pytest.mark.parametrize("text", [KALDI, MFA, MFA.replace("\t", " ")], ids=["kaldi", "mfa", "silprob"])
def test_probabilities_are_costs_of_variants_and_no_phones(tmp_path: Path, text: str) -> None:
    found = read_lexicon(_file(tmp_path, text.encode()))
    assert found.pronunciations == {
        "THE": (("DH", "AH0"), ("DH", "IY1")),
        "CAT": (("K", "AE1", "T"),),
        "READ": (("R", "EH1", "D"), ("R", "IY1", "D")),
    }
    assert found.costs == {"THE": (0.0, pytest.approx(math.log(5)))}
    assert found.variant_costs("CAT") == (0.0,) and found.variant_costs("READ") == (0.0, 0.0)
    write_lexicon(tmp_path / "again", found)
    again = read_lexicon(tmp_path / "again")
    assert again.pronunciations == found.pronunciations and again.costs == {"THE": (0.0, pytest.approx(math.log(5)))}


def test_costs_go_with_their_variants(tmp_path: Path) -> None:
    text = "record 0.2 R AH0\nrecord 0.8 R AH1\nrecord 0.4 R EH1\nb 0.5 B\nb 1 P\n"
    lexicon = read_lexicon(_file(tmp_path, text.encode()))
    plain = without_stress(lexicon)
    assert plain.pronunciations["RECORD"] == (("R", "AH"), ("R", "EH"))
    assert plain.costs == {"RECORD": (0.0, pytest.approx(math.log(2))), "B": (pytest.approx(math.log(2)), 0.0)}
    assert with_positions(plain).costs == plain.costs
    chosen, _ = select(plain, ["B"])
    assert chosen.costs == {"B": plain.costs["B"]}
    assert merge(chosen, {"B": (("X",), ("Y",)), "C": (("C",),)}).costs == chosen.costs


def test_phones_may_be_called_by_numbers(tmp_path: Path) -> None:
    found = read_lexicon(_file(tmp_path, b"one 1 2 3\ntwo 2 1\nthree 1 1\n"))
    assert found.pronunciations == {"ONE": (("1", "2", "3"),), "TWO": (("2", "1"),), "THREE": (("1", "1"),)}
    assert found.costs == {}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("two T UW1\none 1.0 W AH N", r"line 2: 1.0 is a probability, but line 1 has none"),
        ("one 1.0 W AH N\ntwo 1.0 0.5 T", r"line 2: 0.5 is a probability, but line 1 has 1"),
        ("one 1e-3 W\ntwo T", r"line 1: 1e-3 is a probability, but line 2 has none"),
        ("one 0.5 W\ntwo 1.5 T", r"line 2: 1.5 is no probability above 0 and up to 1"),
        ("one 0.5 W\ntwo 0.0 T", r"line 2: 0.0 is no probability"),
        ("one 0 W\ntwo 1 T", r"line 1: 0 is no probability"),
        ("one 100 W\ntwo 50 T", r"line 1: 100 is no probability above 0 and up to 1"),
        ("two T UW1\none 0,5 W", r"line 2: 0,5 is no phone"),
        ("one 50% W\ntwo 50% T", r"line 1: 50% is no phone"),
        ("one -0.5 W\ntwo -0.1 T", r"line 1: -0.5 is no phone"),
        ("one [one] W AH N", r"line 1: \[one\] is no phone"),
    ],
)
def test_probabilities_that_are_none_are_named(tmp_path: Path, lines: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"words\.dict, {said}"):
        read_lexicon(_file(tmp_path, lines.encode()))


@given(st.binary(max_size=80) | st.text("aB()#0.19\t \n\r<>!\u2019\ufeff", max_size=60).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_lexicon_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    with contextlib.suppress(UserError):
        found = read_lexicon(_file(tmp_path, content))
        assert all(variants and all(variants) for variants in found.pronunciations.values())


def test_written_lexicon_reads_back_the_same(tmp_path: Path) -> None:
    lexicon = read_lexicon(_file(tmp_path, TEXT.encode()))
    write_lexicon(tmp_path / "lexicon.txt", lexicon)
    assert read_lexicon(tmp_path / "lexicon.txt") == lexicon


def test_silence_and_the_unknown_phone_come_first() -> None:
    lexicon = Lexicon({"B": (("Z", "A1"),), "A": (("M", "SPN"), ("A0",))})
    assert lexicon.phones == ("SIL", "SPN", "A0", "A1", "M", "Z")


def test_word_that_is_not_in_the_lexicon_is_the_unknown_phone() -> None:
    assert Lexicon({"A": (("AH0",),)}).variants("XYZ") == (("SPN",),)


def test_variants_that_differ_in_stress_only_become_one() -> None:
    lexicon = Lexicon({"RECORD": (("R", "AH0", "K"), ("R", "AH1", "K"), ("R", "EH1", "K")), "TWO": (("2",),)})
    assert without_stress(lexicon).pronunciations == {"RECORD": (("R", "AH", "K"), ("R", "EH", "K")), "TWO": (("2",),)}


def test_phones_tell_their_position_in_the_word() -> None:
    plain = {"A": (("AH0",), ("EY1",)), "CATS": (("K", "AE1", "T", "S"),), "IT": (("IH1", "T"),), "X": (("SPN",),)}
    lexicon = Lexicon(plain)
    placed = with_positions(lexicon)
    assert placed.pronunciations == {
        "A": (("AH0_S",), ("EY1_S",)),
        "CATS": (("K_B", "AE1_I", "T_I", "S_E"),),
        "IT": (("IH1_B", "T_E"),),
        "X": (("SPN",),),
    }
    assert set(map(without_position, placed.phones)) == set(lexicon.phones)


def test_select_gives_entries_and_what_is_missing() -> None:
    lexicon = Lexicon({"A": (("AH0",),), "B": (("B", "IY1"),)})
    chosen, missing = select(lexicon, ["B", "D", "C", "B"])
    assert chosen.pronunciations == {"B": (("B", "IY1"),)}
    assert missing == ["C", "D"]


def test_merge_keeps_the_first_entry() -> None:
    merged = merge(Lexicon({"A": (("AH0",),)}), {"A": (("EY1",),), "B": (("B",),)})
    assert merged.pronunciations == {"A": (("AH0",),), "B": (("B",),)}


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"hello HH AH0\nword\n", "words.dict", "line 2.*'word' has no phones"),
        (b"hello # HH AH0\n", "words.dict", "line 1.*'hello' has no phones"),
        (b"", "words.dict", "holds no pronunciations"),
        (b"hello \xff\xfe\n", "words.dict", "cannot be read as a lexicon"),
        (gzip.compress(TEXT.encode(), mtime=0)[:40], "words.dict.gz", "cannot be read as a lexicon"),
        (b"hello HH\n", "words.dict.gz", "cannot be read as a lexicon"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, content: bytes, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_lexicon(_file(tmp_path, content, name))
    assert name in str(caught.value)


def test_damaged_gzip_data_is_a_user_error(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(TEXT.encode() * 50))
    content[20:60] = bytes(40)
    with pytest.raises(UserError, match=r"words\.dict\.gz"):
        read_lexicon(_file(tmp_path, bytes(content), "words.dict.gz"))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.dict"):
        read_lexicon(tmp_path / "none.dict")
