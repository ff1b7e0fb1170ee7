"""Scoring files: formats, missing utterances, and the sentences for bad files."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import hypothesis.strategies as st
import jiwer
import pytest
from hypothesis import HealthCheck, given, settings

from kd_asr.cli import main
from kd_asr.errors import UserError
from kd_asr.evaluation.score import score, score_as_json, score_files
from kd_asr.evaluation.transcripts import TEXT_FORMATS, TextFormat, read_pair
from kd_asr.evaluation.wer import WordErrors


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_kaldi_text_in_any_order(tmp_path: Path) -> None:
    reference = write(tmp_path, "ref", "u1 A B C\nu2 D E\n\nu3\n")
    hypothesis = write(tmp_path, "hyp", "u3\nu2 D X E\nu1 A C\n")
    result = score_files(reference, hypothesis, resamples=200)
    assert result.pair.reference_format == "kaldi"
    assert result.total == WordErrors(substitutions=0, deletions=1, insertions=1, hits=4)
    low, high = result.interval
    assert low <= 2 / 5 <= high


def test_folder_of_librispeech_transcripts(tmp_path: Path) -> None:
    write(tmp_path, "test/84/1/84-1.trans.txt", "84-1-0000 GO ON\n84-1-0001 STOP\n")
    write(tmp_path, "test/85/2/85-2.trans.txt", "85-2-0000 YES\n")
    hypothesis = write(tmp_path, "hyp", "84-1-0000 GO\n84-1-0001 STOP\n85-2-0000 NO\n")
    assert score_files(tmp_path / "test", hypothesis).total == WordErrors(1, 1, 0, 2)


def test_plain_lines(tmp_path: Path) -> None:
    reference = write(tmp_path, "ref", "THE CAT SAT\n\nTHE DOG\n")
    hypothesis = write(tmp_path, "hyp", "THE CAT\nOH\nTHE DOG\n")
    result = score_files(reference, hypothesis)
    assert result.pair.reference_format == "text"
    assert result.total == WordErrors(substitutions=0, deletions=1, insertions=1, hits=4)


def test_format_can_be_forced(tmp_path: Path) -> None:
    reference = write(tmp_path, "ref", "2 CATS\n3 DOGS\n")
    hypothesis = write(tmp_path, "hyp", "2 CATS\n4 DOGS\n")
    assert score_files(reference, hypothesis, text_format="text").total == WordErrors(1, 0, 0, 3)
    assert score_files(reference, hypothesis, text_format="kaldi").total == WordErrors(0, 1, 0, 1)
    reference = write(tmp_path, "ref", "first CATS\nsecond DOGS\n")
    assert score_files(reference, reference, text_format="text").total.reference_words == 4
    assert score_files(reference, reference, text_format="kaldi").total.reference_words == 2


PIECES = ("u1", "u2", "a", "b", "(u1)", "(u2)", "1", "0.5", "\n", "\n", "\r", ";;", "\t", "<eps>", "{", "\u2028")
# The same four utterances, and a hypothesis with one substitution and one deletion, in every format with ids.
REFERENCES = {
    "kaldi": "u1 the cat sat\nu2 on a mat\nu3 oh\nu4 yes\n",
    "trn": "the cat sat (u1)\non a mat (u2)\noh (u3)\nyes (u4)\n",
    "ctm": ";; made by hand\nu1 1 0.00 0.20 the\nu1 1 0.60 0.1 sat\nu1 1 0.20 0.40 cat\n"
    "u2 1 0.0 0.2 on 0.9\nu2 1 0.2 0.1 a 0.9\nu2 1 0.3 .4 mat 0.9\nu3 1 0.1 0.1 oh\nu4 1 0.1 0.1 yes\n",
}
HYPOTHESES = {
    "kaldi": "u2 on a hat\nu1 the cat sat\nu4 yes\nu3\n",
    "trn": "on a hat (u2)\nthe cat sat (u1)\nyes (u4)\n(u3)\n",
    "ctm": "u2 A 0.0 0.2 on\nu2 A 0.2 0.1 a\nu2 A 0.3 0.4 hat\nu1 A 0.0 0.2 the\nu1 A 0.2 0.4 cat\n"
    "u1 A 0.6 0.1 sat\nu4 A 0.0 0.1 yes\nu3 A 0.0 0.1 <eps>\n",
}


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("hypothesis", HYPOTHESES)
def test_formats_with_ids_are_seen_and_may_differ(tmp_path: Path, reference: str, hypothesis: str) -> None:
    files = write(tmp_path, "ref", REFERENCES[reference]), write(tmp_path, "hyp", HYPOTHESES[hypothesis])
    result = score_files(*files, resamples=20)
    assert (result.pair.reference_format, result.pair.hypothesis_format) == (reference, hypothesis)
    assert result.total == WordErrors(substitutions=1, deletions=1, insertions=0, hits=6)
    printed = score(*files).splitlines()[-1]
    assert f"reference read as {reference} (" in printed and f"hypothesis as {hypothesis} (" in printed
    if reference == hypothesis:
        assert score_files(*files, text_format=reference, resamples=20).total == result.total  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("1 2 3\n4 5 6\n", "4 5 6\n1 2 3\n"),  # words, or ids in another order
        ("1 GO\n2 STOP\n", "3 GO\n4 STOP\n"),
        ("0001 GO\n0002 STOP\n", "0002 STOP\n0001 GO\n"),
        ("anna go on\nbert stop\n", "bert stop\nanna go\n"),  # ids without a digit
        ("THE CAT\n", "THE BAT\n"),
    ],
)
def test_where_it_cannot_be_told_it_is_asked(tmp_path: Path, reference: str, hypothesis: str) -> None:
    files = write(tmp_path, "ref", reference), write(tmp_path, "hyp", hypothesis)
    with pytest.raises(UserError, match="--format kaldi or --format text"):
        score_files(*files)
    score_files(*files, text_format="text", resamples=20)


def test_ids_that_do_not_match_are_no_words(tmp_path: Path) -> None:
    reference = write(tmp_path, "ref", "u1 A B\nu2 C D\nu3 E\n")
    for hypothesis, shared in (("v1 A B\nv2 C D\nv3 E\n", "no"), ("u1 A B\nv2 C D\nv3 E\n", "1")):
        with pytest.raises(UserError, match=f"share {shared} utterance id .*fewer than half"):
            score_files(reference, write(tmp_path, "hyp", hypothesis))
    with pytest.raises(UserError, match=r"looks like kaldi .* but .* like text"):
        score_files(reference, write(tmp_path, "hyp", "A B\nA D\nE\n"))
    with pytest.raises(UserError, match="fewer than half"):
        score_files(write(tmp_path, "ref", "a b (x-1)\nc (x-2)\n"), write(tmp_path, "hyp", "a b (y-1)\nc (y-2)\n"))


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("x.trn", "{ a / b } c (u2)", "line 2: alternatives"),
        ("x.trn", "a b", "line 2: a line of trn ends in"),
        ("x.trn", "(u1)", "line 2: utterance u1 stands already in"),
        ("x.ctm", "u1 1 x 0.5 c", "line 2: not `utterance channel"),
        ("x.ctm", "u1 1 nan 0.5 c", "line 2: not `utterance channel"),
        ("x.ctm", "u1 2 0.5 0.5 c", "line 2: u1 has the channels 1 and 2"),
        ("x.ctm", "u1 1 * * <ALT_BEGIN>", "line 2: not `utterance channel"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, name: str, line: str, message: str) -> None:
    first = "a b (u1)" if name == "x.trn" else "u1 1 0.0 0.5 a"
    path = write(tmp_path, name, f"{first}\n{line}\n")
    with pytest.raises(UserError, match=rf"{name}, {message}"):
        score_files(path, path)


@pytest.mark.parametrize("text", ["the cat sat", "a", "a  b c d", "\u00e9t\u00e9 na\u00efve", "x y"])
def test_characters_are_counted_as_jiwer_counts_them(tmp_path: Path, text: str) -> None:
    other = "the bat  sat on"
    files = write(tmp_path, "ref", f"u1 {text}\nu2 yes no\n"), write(tmp_path, "hyp", f"u1 {other}\nu2 yes\n")
    result = score_files(*files, characters=True, resamples=20)
    clean = [" ".join(line.split()) for line in (text, "yes no", other, "yes")]
    assert result.total.wer == pytest.approx(jiwer.cer(clean[:2], clean[2:]))
    figures = json.loads(score(*files, characters=True, as_json=True))
    assert figures["reference_characters"] == sum(map(len, clean[:2]))
    assert "CER" in score(*files, characters=True)


def test_punctuation_and_case(tmp_path: Path) -> None:
    reference = write(tmp_path, "ref", "u1 Don\u2019t stop, <unk> well-known Stra\u00dfe.\n")
    hypothesis = write(tmp_path, "hyp", "u1 don't STOP <unk> well known \u201cstrasse\u201d\n")
    assert score_files(reference, hypothesis, ignore_case=True, ignore_punctuation=True).total.errors == 0
    assert score_files(reference, hypothesis, ignore_punctuation=True).total.errors == 3
    assert score_files(reference, hypothesis).total.reference_words == 5
    # One spelling of an accent in two codes is the same text.
    files = write(tmp_path, "ref", "u1 caf\u00e9\n"), write(tmp_path, "hyp", "u1 cafe\u0301\n")
    assert score_files(*files).total.errors == 0


def test_the_command_takes_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(write(tmp_path, "ref", "GO, ON\nSTOP\n")), str(write(tmp_path, "hyp", "go on\nstop\n"))]
    options = ["--format", "text", "--ignore-case", "--ignore-punctuation", "--cer"]
    assert main(["score", *files, *options]) == 0
    assert capsys.readouterr().out.startswith("CER 0.00 %")
    assert main(["score", *files, "--format", "stm"]) == 2
    assert "--format is auto, trn, kaldi, text or ctm, not 'stm'" in capsys.readouterr().err


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from(TEXT_FORMATS))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_score_or_a_sentence(tmp_path: Path, first: bytes, second: bytes, form: TextFormat) -> None:
    (tmp_path / "ref").write_bytes(first)
    (tmp_path / "hyp").write_bytes(second)
    with contextlib.suppress(UserError):
        total = score_files(tmp_path / "ref", tmp_path / "hyp", text_format=form, resamples=2).total
        assert total.reference_words > 0


@given(
    st.lists(
        st.sampled_from(
            ["u1", "u2", "a", "b", "(u1)", "(u2)", "1", "0.5", "\n", "\n", "\r", ";;", "\t", "<eps>", "{", "\u2028"]
        ),
        max_size=40,
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mixtures_of_formats_give_a_score_or_a_sentence(tmp_path: Path, parts: list[str]) -> None:
    path = write(tmp_path, "ref", " ".join(parts))
    with contextlib.suppress(UserError):
        assert score_files(path, path, resamples=2).total.errors == 0  # a file is right by itself


def test_missing_and_unused_are_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = write(tmp_path, "ref", "u1 A B C\nu2 D E\n")
    hypothesis = write(tmp_path, "hyp", "u1 A B C\nu9 D E\n")
    result = score_files(reference, hypothesis)
    assert result.total == WordErrors(deletions=2, hits=3)
    assert (result.pair.missing, result.pair.unused) == (("u2",), ("u9",))
    assert score(reference, hypothesis).startswith("WER 40.00 % (95 % interval ")
    said = capsys.readouterr().err
    assert "1 utterances without a hypothesis, counted as deletions: u2" in said
    assert "1 utterances in the hypothesis only, not scored: u9" in said


def test_json_round_trips(tmp_path: Path) -> None:
    reference = write(tmp_path, "ref", "u1 A B C\nu2\n")
    hypothesis = write(tmp_path, "hyp", "u1 A B X\nu2 Y\n")
    result = score_files(reference, hypothesis)
    figures = json.loads(score(reference, hypothesis, as_json=True))
    assert figures == json.loads(json.dumps(score_as_json(result)))
    assert figures["wer"] == pytest.approx(2 / 3)
    assert figures["per_utterance"]["u2"]["wer"] is None
    assert figures["per_utterance"]["u2"]["reference"] == "***"


def test_ignore_case(tmp_path: Path) -> None:
    reference = write(tmp_path, "ref", "u1 A B\n")
    hypothesis = write(tmp_path, "hyp", "u1 a b\n")
    assert score_files(reference, hypothesis).total.errors == 2
    assert score_files(reference, hypothesis, ignore_case=True).total.errors == 0


@pytest.mark.parametrize(
    ("reference", "hypothesis", "text_format", "message"),
    [
        ("u1 A\nu2 B\nu1 C\n", "u1 A\nu2 B\n", "auto", r"ref, line 3: utterance u1 stands already in .*ref, line 1"),
        ("u1 A\nu2 B\n", "u1 A\nu2 B\nu2 B\n", "auto", r"hyp, line 3: utterance u2 stands already"),
        ("A\nB\nA\n", "A\n", "auto", r"ref has 3 lines and .*hyp has 1, .*words alone"),
        ("u1 A\n", "v1 A\n", "kaldi", "share no utterance id"),
        ("u1 A\n", "", "auto", r"the first are u1 and nothing"),
    ],
)
def test_sentences_for_bad_files(
    tmp_path: Path, reference: str, hypothesis: str, text_format: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_pair(write(tmp_path, "ref", reference), write(tmp_path, "hyp", hypothesis), text_format)  # type: ignore[arg-type]


def test_sentences_for_unreadable_files(tmp_path: Path) -> None:
    good = write(tmp_path, "ref", "u1 A\n")
    with pytest.raises(UserError, match="nowhere does not exist"):
        score_files(good, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty is a folder without \*\.trans\.txt"):
        score_files(good, tmp_path / "empty")
    (tmp_path / "latin").write_bytes("u1 A\nu2 caf\u00e9\n".encode("latin-1"))
    with pytest.raises(UserError, match="latin, line 2: not UTF-8"):
        score_files(good, tmp_path / "latin")


def test_reference_without_any_words_is_refused(tmp_path: Path) -> None:
    for text in ("u1\nu2\n", "", "\n\n"):
        reference = write(tmp_path, "ref", text)
        with pytest.raises(UserError, match="ref holds no words"):
            score_files(reference, reference)
