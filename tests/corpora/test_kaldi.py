"""Kaldi data folders."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from spoken import RATE, Speech, Spoken, essence, expected, little_speech

from kd_asr.corpora.kaldi import Kaldi, KaldiSettings
from kd_asr.corpora.manifest import Utterance, read_manifest, write_manifest
from kd_asr.corpora.scan import Scan, scan
from kd_asr.errors import UserError
from kd_asr.features.frames import read_audio


def write_set(folder: Path, spoken: Sequence[Spoken], audio: Path) -> None:
    """wav.scp, text and utt2spk of one set."""
    folder.mkdir(parents=True)
    paths = {one.utterance_id: one.write(audio) for one in spoken}
    files = {
        "wav.scp": [f"{one.utterance_id} {paths[one.utterance_id]}" for one in spoken],
        "text": [f"{one.utterance_id} {one.text}" for one in spoken],
        "utt2spk": [f"{one.utterance_id} {one.speaker}" for one in spoken],
    }
    for name, lines in files.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))


def write(folder: Path, speech: Speech) -> KaldiSettings:
    """Data folders train, dev and test."""
    for name, spoken in speech.items():
        write_set(folder / "data" / name, spoken, folder / "audio" / name)
    return KaldiSettings(**{name: str(folder / "data" / name) for name in speech}, audio_root=str(folder))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A data folder of four utterances, 10-1-0000 to 11-1-0001."""
    write_set(tmp_path / "data" / "train", little_speech()["train"], tmp_path / "audio")
    return tmp_path / "data" / "train"


def found_in(folder: Path, audio_root: str = "") -> Scan:
    settings = KaldiSettings(train=str(folder), audio_root=audio_root)
    return scan([Kaldi(settings).listing("train")], jobs=1)[0]


def reasons(found: Scan) -> dict[str, str]:
    return {one.utterance_id: one.reason for one in found.rejected}


def replace_line(path: Path, number: int, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("".join(f"{one}\n" for one in lines))


@pytest.mark.parametrize("command", ["flac -c -d -s x.flac |", "sox a.wav -t wav - remix 1|", "| cat"])
def test_commands_are_refused_with_file_and_line(folder: Path, command: str) -> None:
    replace_line(folder / "wav.scp", 3, f"11-1-0000 {command}")
    with pytest.raises(UserError, match=r"wav\.scp, line 3: .* is a command, and commands are not run"):
        found_in(folder)


def test_relative_paths_start_from_the_nearest_folder_that_has_the_files(folder: Path, tmp_path) -> None:
    scp = folder / "wav.scp"
    scp.write_text(scp.read_text().replace(f"{tmp_path}/", ""))
    assert essence(found_in(folder).utterances) == expected(little_speech()["train"])
    (tmp_path / "audio").rename(tmp_path / "sound")
    with pytest.raises(UserError, match=r"audio/10-1-0000.flac and its other paths lead to no files from .*audio_root"):
        found_in(folder)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sound").rename(tmp_path / "elsewhere" / "audio")
    assert len(found_in(folder, str(tmp_path / "elsewhere")).utterances) == 4


def test_segments_are_parts_of_recordings(tmp_path) -> None:
    samples = 0.1 * np.random.default_rng(1).standard_normal(3 * RATE)
    soundfile.write(tmp_path / "talk.wav", samples, RATE)
    (tmp_path / "wav.scp").write_text(f"talk {tmp_path}/talk.wav\nother {tmp_path}/nowhere.wav\n")
    (tmp_path / "segments").write_text(
        "a talk 0 1.0\nb talk 1.0 2.5\nc talk 2.5 -1\nd talk 2.9 3.4\n"
        "e talk 2.0 9.0\nf talk 2.0 2.0\ng nobody 0 1\nh talk zero 1\ni other 0 1\nj talk 1\nk talk 5 6\nl talk 0 inf\n"
    )
    (tmp_path / "text").write_text("".join(f"{name} hello there\n" for name in "abcdefghijkl"))
    (tmp_path / "spk2utt").write_text("jo a b e f g h i j k l\nmo c d\n")
    found = found_in(tmp_path)
    parts = {one.utterance_id: (one.speaker_id, one.first_sample, one.num_samples) for one in found.utterances}
    assert parts == {
        "a": ("jo", 0, RATE),
        "b": ("jo", RATE, 3 * RATE // 2),
        "c": ("mo", 5 * RATE // 2, RATE // 2),
        "d": ("mo", round(2.9 * RATE), RATE // 10),  # it ends a little after its recording
    }
    assert {one.chapter_id for one in found.utterances} == {"talk"}
    assert reasons(found) == {
        "e": "segment beyond its recording: it ends at 9 s, the recording at 3 s; segments, line 5",
        "f": "segment without length: from 2 to 2 s; segments, line 6",
        "g": "no such recording in wav.scp: nobody; segments, line 7",
        "h": "malformed segment, not `utterance recording start end`; segments, line 8",
        "i": "unreadable audio: No such file or directory; segments, line 9",
        "j": "malformed segment, not `utterance recording start end`; segments, line 10",
        "k": "segment beyond its recording: it ends at 6 s, the recording at 3 s; segments, line 11",
        "l": "malformed segment, not `utterance recording start end`; segments, line 12",
    }
    whole, b = read_audio(tmp_path / "talk.wav", RATE), found.utterances[1]
    assert b.first_sample is not None
    part = read_audio(b.audio_path, RATE, first_sample=b.first_sample, num_samples=b.num_samples)
    assert np.array_equal(part, whole[RATE : 5 * RATE // 2])
    write_manifest(tmp_path / "manifest.jsonl", found.utterances)
    assert read_manifest(tmp_path / "manifest.jsonl") == found.utterances


def test_wav_files_in_an_archive(folder: Path, tmp_path) -> None:
    """As Kaldi's wav-copy writes them: key, space, file, one after the other."""
    archive, lines = tmp_path / "sound.ark", []
    with archive.open("wb") as file:
        for one in little_speech()["train"]:
            file.write(f"{one.utterance_id} ".encode())
            lines.append(f"{one.utterance_id} {archive}:{file.tell()}\n")
            file.write(one.write(tmp_path / "wav", ".wav").read_bytes())
        file.write(b"matrix \0BFM \4" + struct.pack("<i", 0))
    lines.append(f"12-1-0000 {archive}:{archive.stat().st_size - 4}\n")
    (folder / "wav.scp").write_text("".join(lines))
    for name, value in (("text", "one"), ("utt2spk", "12")):
        with (folder / name).open("a") as file:
            file.write(f"12-1-0000 {value}\n")
    found = found_in(folder)
    assert essence(found.utterances) == expected(little_speech()["train"])
    assert reasons(found)["12-1-0000"].startswith("unreadable audio: no WAV file of known length at byte")
    last: Utterance = found.utterances[-1]
    assert np.array_equal(read_audio(last.audio_path, RATE), read_audio(tmp_path / "wav" / "11-1-0001.wav", RATE))


def test_bad_utterances_are_listed_with_their_lines(folder: Path) -> None:
    replace_line(folder / "text", 1, "10-1-0000")
    replace_line(folder / "text", 2, "99-1-0001 no audio")
    replace_line(folder / "utt2spk", 3, "")
    with (folder / "text").open("ab") as file:
        file.write(b"12-1-0000 caf\xe9\n13-1-0000 once\n13-1-0000 twice\n")
    found = found_in(folder)
    assert [one.utterance_id for one in found.utterances] == ["11-1-0001"]
    assert reasons(found) == {
        "10-1-0000": "empty transcript; wav.scp, line 1",
        "10-1-0001": "no transcript line; wav.scp, line 2",
        "11-1-0000": "no speaker; wav.scp, line 3",
        "99-1-0001": "transcript line without audio; text, line 2",
        "12-1-0000": "malformed line 5: not UTF-8",
        "13-1-0000": "more than one line; text, line 7",
    }


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("wav.scp", "is no Kaldi data folder: there is no wav.scp in it"),
        ("text", "there is no text in it"),
        ("utt2spk", "neither utt2spk nor spk2utt"),
    ],
)
def test_a_missing_file_is_named(folder: Path, missing: str, message: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(UserError, match=message):
        found_in(folder)


def test_the_corpus_is_called_by_its_folder() -> None:
    assert Kaldi(KaldiSettings(train="/speech/mine/data/train", dev="/speech/mine/data/development")).label == (
        "mine (train train, dev development, test speakers of train)"
    )
    assert Kaldi(KaldiSettings(train="/train")).label.startswith("kaldi (train train, ")
