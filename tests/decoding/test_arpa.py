"""ARPA files: what is read, every way in which they can be wrong, and perplexity."""

from __future__ import annotations

import contextlib
import gzip
import math

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from kd_asr.decoding.arpa import perplexity, read_arpa, read_vocabulary, respell, spellings, write_arpa
from kd_asr.errors import UserError

# log10 probabilities whose powers are plain: -0.30103 is 1/2, -0.60206 is 1/4, -1 is 1/10.
TINY = """a comment before the header

\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-99\t<s>\t-0.30103
-0.60206\t</s>
-1\t<unk>
-0.30103\tA\t-0.60206
-0.82391\tB

\\2-grams:
-0.1\t<s> A
-0.2\tA B
-0.4\tB </s>

\\end\\
"""


PIECES = (
    *(b"\r", b"\r\n", b"\0", b"-inf", b"1e400", b"-1_0", b"<s>", b"</s>", b"#0", b"<eps>", b"\xef\xbb\xbf"),
    *(b"\xd9\xa3", b"\xc2\xa0", b"\t", b"9" * 5000, b"\n", b"\\end\\", b"=", b"-0.5", b"A", b"A B"),
)


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.arpa"
    path.write_text(TINY)
    return path


def test_reads_probabilities_and_backoffs(tiny):
    model = read_arpa(tiny)
    assert model.order == 2
    assert model.log_probabilities[0] == {"<s>": -99, "</s>": -0.60206, "<unk>": -1, "A": -0.30103, "B": -0.82391}
    assert model.log_probabilities[1] == {"<s> A": -0.1, "A B": -0.2, "B </s>": -0.4}
    assert model.backoffs == {"<s>": -0.30103, "A": -0.60206}


def test_fields_may_be_parted_by_spaces_and_lines_end_as_in_dos(tiny):
    expected = read_arpa(tiny)
    tiny.write_text(TINY.replace("\t", "  ").replace("\n", "\r\n"))
    assert read_arpa(tiny) == expected


def test_backs_off_by_hand(tiny):
    model = read_arpa(tiny)
    assert model.log10_probability("A", ["<s>"]) == -0.1
    assert model.log10_probability("B", ["<s>"]) == pytest.approx(-0.30103 - 0.82391)
    assert model.log10_probability("A", ["A"]) == pytest.approx(-0.60206 - 0.30103)
    assert model.log10_probability("A", ["B"]) == -0.30103  # no weight is written: 1
    assert model.log10_probability("B", ["B", "B", "A"]) == -0.2  # no further back than the order
    assert model.log10_probability("A", ["NEVER"]) == -0.30103


def test_perplexity_by_hand(tiny):
    measured = perplexity(read_arpa(tiny), [["A", "B"], ["A"]])
    # A B: -0.1 -0.2 -0.4; A: -0.1, then </s> after A: -0.60206 - 0.60206
    assert measured.log10_probability == pytest.approx(-0.7 - 0.1 - 1.20412)
    assert (measured.tokens, measured.words, measured.unknown_words) == (5, 3, 0)
    assert measured.value == pytest.approx(10 ** (2.00412 / 5))


def test_unknown_words_are_counted_and_not_seen_past(tiny):
    measured = perplexity(read_arpa(tiny), [["A", "XYZ", "B"]])
    # A: -0.1; XYZ: not predicted; B without history: -0.82391; </s> after B: -0.4
    assert measured.log10_probability == pytest.approx(-0.1 - 0.82391 - 0.4)
    assert (measured.tokens, measured.words, measured.unknown_words) == (3, 3, 1)
    assert measured.unknown_rate == pytest.approx(1 / 3)


def test_the_mark_of_unknown_words_is_unknown(tiny):
    assert perplexity(read_arpa(tiny), [["<unk>"]]).unknown_words == 1


def test_no_text_has_no_perplexity(tiny):
    measured = perplexity(read_arpa(tiny), [])
    assert measured.value == math.inf
    assert measured.unknown_rate == 0


def test_impossible_word_gives_infinite_perplexity(tiny):
    tiny.write_text(TINY.replace("-0.82391\tB", "-inf\tB"))
    measured = perplexity(read_arpa(tiny), [["B"]])
    assert measured.value == math.inf


def test_vocabulary_is_sorted_words_only(tiny):
    assert read_vocabulary(tiny) == ["A", "B"]


def test_vocabulary_does_not_read_past_the_unigrams(tiny):
    tiny.write_text(TINY.split("-0.2\tA B", maxsplit=1)[0])
    assert read_vocabulary(tiny) == ["A", "B"]


def test_cut_leaves_a_proper_model(tiny):
    model = read_arpa(tiny)
    assert model.cut(2) is model
    assert model.cut(7) is model
    unigrams = model.cut(1)
    assert unigrams.order == 1
    assert unigrams.backoffs == {}
    assert unigrams.log10_probability("B", ["A"]) == -0.82391


def test_the_spelling_of_transcripts_is_left_alone(tiny):
    model = read_arpa(tiny)
    assert respell(model) == (model, [])


def test_lower_case_is_made_upper_case(tiny):
    expected = read_arpa(tiny)
    tiny.write_text(TINY.replace("A", "a").replace("B", "b"))
    assert respell(read_arpa(tiny))[0] == expected


@pytest.mark.parametrize("spelling", ["a", "A"])
def test_words_that_differ_in_case_only(tiny, spelling):
    tiny.write_text("\\data\\\nngram 1=4\n\n\\1-grams:\n-1\tAa\n-1\taA\n-1\t" + spelling + "\n-1\t</s>\n\n\\end\\\n")
    with pytest.raises(UserError, match="has both 'Aa' and 'aA'"):
        respell(read_arpa(tiny))


@pytest.mark.parametrize(
    ("word", "spelling"),
    [("don\u2019t", "DON'T"), ("cafe\u0301", "CAF\u00c9"), ("mr.", "MR"), ("[UNK]", "<unk>"), ("<OOV>", "<unk>")],
)
def test_words_are_spelt_as_in_transcripts(tiny, word, spelling):
    tiny.write_text(TINY.replace("-1\t<unk>\n", "-1\tC\n").replace("B", word))
    model, left_out = respell(read_arpa(tiny))
    assert left_out == []
    assert model.log_probabilities[0][spelling] == -0.82391
    assert model.log_probabilities[1][f"A {spelling}"] == -0.2
    assert set(spellings(read_vocabulary(tiny)).values()) == {"A", "C", spelling}


@pytest.mark.parametrize(
    "word", ["FOO(2)", "#0", "<eps>", "!SIL", "<noise>", "[LAUGHTER]", "well-known", "2", ",", "A."]
)
def test_words_that_no_transcript_can_hold_are_left_out_with_their_ngrams(tiny, word):
    tiny.write_text(TINY.replace("B", word))
    model, left_out = respell(read_arpa(tiny))
    assert left_out == [word]  # A. is A, which is there
    assert set(model.log_probabilities[0]) == {"<s>", "</s>", "<unk>", "A"}
    assert model.log_probabilities[1] == {"<s> A": -0.1}
    assert set(spellings(read_vocabulary(tiny))) == {"A"}


def test_what_readers_rely_on_is_added(tiny):
    """<s>, and the beginnings of n-grams with the probability that the model gives them."""
    text = TINY.replace("-99\t<s>\t-0.30103\n", "").replace("1=5", "1=4").replace("-0.1\t<s> A\n", "")
    text = text.replace("ngram 2=3", "ngram 2=2\nngram 3=1").replace("\n\\end", "\n\\3-grams:\n-0.05\tA A B\n\n\\end")
    tiny.write_text(text)
    given = read_arpa(tiny)
    model, _ = respell(given)
    assert model.log_probabilities[0]["<s>"] == -99
    assert model.log_probabilities[1]["A A"] == pytest.approx(-0.60206 - 0.30103)
    for history in (["A"], ["B", "A"], ["A", "A"], ["A", "B"]):
        for word in ("A", "B", "</s>"):
            assert model.log10_probability(word, history) == read_arpa(tiny).log10_probability(word, history)


def test_ngrams_with_an_end_inside_are_left_out(tiny):
    tiny.write_text(TINY.replace("-0.2\tA B", "-0.2\tA <s>").replace("-0.4\tB </s>", "-0.4\t</s> B"))
    assert respell(read_arpa(tiny))[0].log_probabilities[1] == {"<s> A": -0.1}


def test_probabilities_of_zero_are_written_as_srilm_does(tmp_path, tiny):
    for zero in ("-inf", "-Infinity", "-1e400", "-1e5"):
        tiny.write_text(TINY.replace("-0.82391\tB", f"{zero}\tB").replace("A\t-0.60206", f"A\t{zero}"))
        write_arpa(tmp_path / "copy.arpa", read_arpa(tiny))
        model = read_arpa(tmp_path / "copy.arpa")
        assert (model.log_probabilities[0]["B"], model.backoffs["A"]) == (-99, -99)


def test_a_backoff_of_the_longest_ngrams_is_not_written(tmp_path, tiny):
    tiny.write_text(TINY.replace("A B\n", "A B\t-0.3\n").replace("</s>\n\n", "</s>\t-0.3\n\n"))
    write_arpa(tmp_path / "copy.arpa", read_arpa(tiny))
    assert set(read_arpa(tmp_path / "copy.arpa").backoffs) == {"<s>", "A"}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\t", " \t "),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_line_ends_blanks_and_byte_order_marks_change_nothing(tiny, change, packed):
    expected = read_arpa(tiny)
    content = change(TINY).encode()
    tiny.write_bytes(gzip.compress(content) if packed else content)  # packed whatever its name
    assert read_arpa(tiny) == expected


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_changed_gives_a_model_or_a_sentence(tmp_path, data):
    content = bytearray(TINY.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from(PIECES) | st.binary(max_size=3)
        )
    path = tmp_path / "changed.arpa"
    path.write_bytes(bytes(content))
    with contextlib.suppress(UserError):
        model, _ = respell(read_arpa(path))
        perplexity(model, [["A", "B"]])
        write_arpa(tmp_path / "written.arpa", model)
        assert respell(read_arpa(tmp_path / "written.arpa"))[0].order == model.order


@pytest.mark.parametrize("name", ["copy.arpa", "copy.arpa.gz"])
def test_round_trip(tmp_path, tiny, name):
    model = read_arpa(tiny)
    write_arpa(tmp_path / name, model)
    assert read_arpa(tmp_path / name) == model
    assert read_vocabulary(tmp_path / name) == ["A", "B"]
    first = (tmp_path / name).read_bytes()
    write_arpa(tmp_path / name, model)
    assert (tmp_path / name).read_bytes() == first


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\\n", "", "no line"),
        ("ngram 1=5\nngram 2=3\n", "", "line 5: no `ngram 1="),
        ("ngram 1=5", "ngram 2=5", "line 4: 'ngram 2=5' is not `ngram 1=count`"),
        ("ngram 2=3", "ngram 2=three", "line 5: 'ngram 2=three'"),
        ("ngram 1=5", "ngram 1=6", "line 14: 5 n-grams of order 1, but the header announces 6"),
        ("ngram 2=3", "ngram 2=2", "line 19: 3 n-grams of order 2, but the header announces 2"),
        ("\\1-grams:", "\\2-grams:", "line 7: .* stands where .*1-grams"),
        ("\\2-grams:", "\\3-grams:", "line 14: .* stands where .*2-grams"),
        ("\\2-grams:\n", "", "line 14: the n-gram '<s>' stands there twice"),
        ("-0.82391\tB", "minus\tB", "line 12: 'minus' is not a log10 probability"),
        ("-0.82391\tB", "-1_0\tB", "line 12: '-1_0' is not a log10 probability"),
        ("-0.82391\tB", "-\u0663\tB", "line 12: .* is not a log10 probability"),
        ("A\t-0.60206", "A\t1e400", "line 11: '1e400' is not a log10 back-off weight"),
        ("ngram 1=5", f"ngram 1={'5' * 5000}", "line 4: .* is not `ngram 1=count`"),
        ("-0.82391\tB", "-0.82391\tB\0", "line 12: control characters: not a text file"),
        ("-0.82391\tB", "nan\tB", "line 12: 'nan' is not a log10 probability"),
        ("-0.82391\tB", "0.82391\tB", "line 12: the log10 probability 0.82391 is above 0"),
        ("A\t-0.60206", "A\tx", "line 11: 'x' is not a log10 back-off weight"),
        ("A\t-0.60206", "A\tinf", "line 11: 'inf' is not a log10 back-off weight"),
        ("-0.2\tA B", "-0.2\tA", "line 16: .* is not `log10-probability, 2 words"),
        ("-0.2\tA B", "-0.2\tA B C -1", "line 16: .* is not `log10-probability, 2 words"),
        ("-0.2\tA B", "-0.2\tA C", "line 16: the word 'C' is not among the unigrams"),
        ("-0.2\tA B", "-0.2\t<s> A", "line 16: the n-gram '<s> A' stands there twice"),
        ("-0.60206\t</s>\n", "-0.60206\tC\n", "'</s>' is not among the unigrams"),
        ("-0.82391\tB", "-0.82391\tB C D", "line 12: .* is not `log10-probability, 1 word, perhaps"),
        ("\n\\end\\\n", "", "after line 17: the file ends among the 2-grams"),
        ("\\end\\", "\\fin\\", "line 19: .* stands where .*end"),
    ],
)
def test_malformed_files_are_named_with_their_line(tiny, old, new, message):
    assert old in TINY
    tiny.write_text(TINY.replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        read_arpa(tiny)
    assert str(tiny) in str(caught.value)


def test_model_without_end_of_sentence(tiny):
    tiny.write_text("\\data\\\nngram 1=1\n\n\\1-grams:\n-0.1\tA\n\n\\end\\\n")
    with pytest.raises(UserError, match="</s> is not among the unigrams"):
        read_arpa(tiny)


def test_every_truncation_is_an_error(tiny):
    for length in range(len(TINY) - len("\\\n")):
        tiny.write_text(TINY[:length])
        with pytest.raises(UserError, match=r"tiny\.arpa"):
            read_arpa(tiny)


def test_truncated_gzip(tmp_path):
    packed = gzip.compress(TINY.encode())
    path = tmp_path / "short.arpa.gz"
    for length in (5, len(packed) // 2, len(packed) - 4):
        path.write_bytes(packed[:length])
        with pytest.raises(UserError, match=r"short\.arpa\.gz"):
            read_arpa(path)


def test_damaged_gzip(tmp_path):
    path = tmp_path / "bad.arpa.gz"
    for content in (b"no gzip at all", gzip.compress(b"x" * 9999)[:12] + b"\xff" * 50):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a sound gzip file"):
            read_arpa(path)


def test_not_text(tmp_path):
    path = tmp_path / "binary.arpa"
    path.write_bytes(b"\\data\\\n\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        read_arpa(path)


@pytest.mark.parametrize("read", [read_arpa, read_vocabulary])
def test_missing_file(tmp_path, read):
    with pytest.raises(UserError, match="there is no language model"):
        read(tmp_path / "none.arpa")


def test_vocabulary_of_a_truncated_file(tiny):
    tiny.write_text(TINY.split("-0.82391", maxsplit=1)[0])
    with pytest.raises(UserError, match="ends among the 1-grams"):
        read_vocabulary(tiny)
