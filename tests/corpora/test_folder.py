"""Folders of audio with transcripts beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from spoken import Speech, little_speech

from kd_asr.corpora.folder import Folder, FolderSettings
from kd_asr.corpora.scan import Scan, scan
from kd_asr.errors import UserError
from kd_asr.stages.settings import parse_settings


def write(folder: Path, speech: Speech) -> FolderSettings:
    """Flat folders train, dev and test."""
    for name, spoken in speech.items():
        for number, one in enumerate(spoken):
            one.write(folder / name).with_suffix((".txt", ".lab")[number % 2]).write_text(f"{one.text}\n")
    return FolderSettings(**{name: str(folder / name) for name in speech}, speaker="^([0-9]+)-")


def found_in(folder: Path, **settings: str) -> tuple[Scan, tuple[str, ...]]:
    listing = Folder(FolderSettings(train=str(folder), **settings)).listing("train")
    return scan([listing], jobs=1)[0], listing.notes


def test_speakers_are_the_folders_below(tmp_path) -> None:
    for one in little_speech()["train"]:
        one.write(tmp_path / one.speaker / "session 1").with_suffix(".txt").write_text(one.text)
    found, notes = found_in(tmp_path)
    assert notes == ()
    assert [(one.utterance_id, one.speaker_id) for one in found.utterances] == [
        ("10-session_1-10-1-0000", "10"),
        ("10-session_1-10-1-0001", "10"),
        ("11-session_1-11-1-0000", "11"),
        ("11-session_1-11-1-0001", "11"),
    ]


def test_unknown_speakers_are_said(tmp_path) -> None:
    write(tmp_path, little_speech())
    found, notes = found_in(tmp_path / "train")
    assert "speakers are not known" in notes[0]
    assert len({one.speaker_id for one in found.utterances}) == 4


def test_words_may_stand_in_the_path(tmp_path) -> None:
    """As in spoken digits and keyword data sets."""
    for one, name in zip(little_speech()["train"], ("7_jo_0", "7_jo_1", "3_mo_0", "noise"), strict=True):
        one.write(tmp_path).rename(tmp_path / f"{name}.flac")
    found, notes = found_in(tmp_path, text="^([0-9])_", speaker="_([a-z]+)_")
    assert notes == ()
    assert [(one.speaker_id, one.words) for one in found.utterances] == [
        ("mo", ("THREE",)),
        ("jo", ("SEVEN",)),
        ("jo", ("SEVEN",)),
    ]
    assert [(one.utterance_id, one.reason) for one in found.rejected] == [
        ("noise", "no transcript in its path: '^([0-9])_' does not match")
    ]


def test_bad_utterances_are_listed(tmp_path) -> None:
    settings = write(tmp_path, little_speech())
    folder = tmp_path / "train"
    (folder / "10-1-0000.txt").unlink()
    (folder / "10-1-0001.lab").write_bytes(b"caf\xe9")
    (folder / "11-1-0000.txt").write_text("?!")
    (folder / "99-1-0000.txt").write_text("no audio")
    found, _ = found_in(folder, speaker=settings.speaker)
    assert {one.utterance_id: one.reason for one in found.rejected} == {
        "10-1-0000": "no transcript: neither .txt nor .lab beside it",
        "caf\ufffd": "malformed line 1: not UTF-8",
        "11-1-0000": "empty transcript",
        "99-1-0000": "transcript without audio",
    }


def test_patterns_are_checked_before_any_work(tmp_path) -> None:
    for pattern, message in (("(", "is not a regular expression"), ("a", "needs one group in parentheses")):
        with pytest.raises(UserError, match=message):
            parse_settings([f"--corpus.folder.speaker={pattern}"])
    (tmp_path / "notes.md").touch()
    with pytest.raises(UserError, match=r"holds no audio files \(\.wav"):
        found_in(tmp_path)
