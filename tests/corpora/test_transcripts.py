"""Transcripts: good lines, and lines that are wrong."""

from kd_asr.corpora.transcripts import read_transcripts


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
    texts, rejected = read_transcripts(path)
    assert texts == {"1-2-0000": "ONE TWO", "1-2-0001": "THREE", "1-2-0002": "", "1-2-0005": ""}
    reasons = {entry.utterance_id: entry.reason for entry in rejected}
    assert reasons == {
        "9-9-0003": "malformed transcript line 5: the id does not begin with 1-2-",
        "1-2-0004": "malformed transcript line 6: not UTF-8",
        "1-2-0005": "utterance id with more than one transcript line",
    }
    assert len(rejected) == 3
