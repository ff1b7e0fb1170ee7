"""Transcripts: spelling, and lines that are wrong."""

import pytest

from kd_asr.corpora.transcripts import normalise_words, read_transcripts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HELLO WORLD", ("HELLO", "WORLD")),
        ("\u201cDon\u2019t\u2014stop,\u201d he said.", ("DON'T", "STOP", "HE", "SAID")),
        ("well-known  e.g.\tcaf\u00e9", ("WELL", "KNOWN", "EG", "CAF\u00c9")),
        ("cafe\u0301", ("CAF\u00c9",)),  # NFC: letter and accent become one character
        ("' '' \u2019", ()),
        ("'tis the dogs' 42", ("'TIS", "THE", "DOGS'", "42")),
        ("stra\u00dfe", ("STRASSE",)),
        ("?!... -- $%", ()),
    ],
)
def test_words_are_spelt_as_in_librispeech(text, words):
    assert normalise_words(text) == words


def test_good_lines_are_read_and_bad_ones_listed(tmp_path):
    path = tmp_path / "1-2.trans.txt"
    path.write_bytes(
        b"\xef\xbb\xbf1-2-0000 ONE TWO\r\n"  # a byte order mark and Windows' line end
        b"1-2-0001 THREE\n"
        b"\n"
        b"1-2-0002\n"
        b"9-9-0003 OTHER CHAPTER\n"
        b"1-2-0004 \xff\xfe\n"
        b"1-2-0005 FIRST\n"
        b"1-2-0005 SECOND\n"
        b"1-2-0005 THIRD\n"
    )
    words, rejected = read_transcripts(path)
    assert words == {"1-2-0000": ("ONE", "TWO"), "1-2-0001": ("THREE",), "1-2-0002": (), "1-2-0005": ()}
    reasons = {entry.utterance_id: entry.reason for entry in rejected}
    assert reasons == {
        "9-9-0003": "malformed transcript line 5: the id does not begin with 1-2-",
        "1-2-0004": "malformed transcript line 6: not UTF-8",
        "1-2-0005": "utterance id with more than one transcript line",
    }
    assert len(rejected) == 3
