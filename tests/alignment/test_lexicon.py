"""Reading, writing and choosing pronunciations."""

from __future__ import annotations

import contextlib
import gzip
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


@pytest.mark.parametrize(
    "line", ["one\t0.99\t0.2\t1.0\t1.0\tW AH N", "one 1.0 W AH N", "one 0.5\tW", "one 1e-3 W", "one .5 W"]
)
def test_probabilities_are_no_phones(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError, match=r"words\.dict, line 2: \S+ is a probability"):
        read_lexicon(_file(tmp_path, f"two T UW1\n{line}\n".encode()))


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
        (b"hello 1 HH AH0\nyes 1 Y EH1 S\n", "words.dict", "the 0 or 1 behind each word is a probability"),
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
