"""Scoring files: formats, missing utterances, and the sentences for bad files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd_asr.errors import UserError
from kd_asr.evaluation.score import score, score_as_json, score_files
from kd_asr.evaluation.transcripts import read_pair
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
    assert result.pair.text_format == "ids"
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
    assert result.pair.text_format == "plain"
    assert result.total == WordErrors(substitutions=0, deletions=1, insertions=1, hits=4)


def test_format_can_be_forced(tmp_path: Path) -> None:
    # Lines that all begin with a number look like utterance ids.
    reference = write(tmp_path, "ref", "2 CATS\n3 DOGS\n")
    hypothesis = write(tmp_path, "hyp", "2 CATS\n4 DOGS\n")
    assert score_files(reference, hypothesis).pair.text_format == "ids"
    assert score_files(reference, hypothesis, text_format="plain").total == WordErrors(1, 0, 0, 3)
    # Ids without a digit are not taken for ids.
    reference = write(tmp_path, "ref", "first CATS\nsecond DOGS\n")
    assert score_files(reference, reference).total.reference_words == 4
    assert score_files(reference, reference, text_format="ids").total.reference_words == 2


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
        ("A\nB\n", "A\n", "auto", r"ref has 2 lines and .*hyp has 1: .*share no utterance ids"),
        ("u1 A\n", "v1 A\n", "ids", "share no utterance id"),
        ("", "u1 A\n", "ids", r"begin with nothing and u1"),
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
