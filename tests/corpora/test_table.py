"""Tables of utterances: the ones that others write, and any other."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import soundfile
from spoken import RATE, Speech, essence, expected, little_speech

from kd_asr.corpora.scan import Scan, scan
from kd_asr.corpora.table import Table, TableSettings
from kd_asr.errors import UserError


def write(folder: Path, speech: Speech) -> TableSettings:
    """Common Voice: train.tsv, dev.tsv and test.tsv beside clips."""
    for name, spoken in speech.items():
        rows = [["client_id", "path", "sentence", "up_votes", "age"]]
        rows += [[one.speaker, one.write(folder / "en" / "clips").name, one.text, "2", ""] for one in spoken]
        (folder / "en" / f"{name}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    return TableSettings(
        **{name: str(folder / "en" / f"{name}.tsv") for name in speech}, audio_root=str(folder / "en/clips")
    )


def found_in(path: Path, **settings: str | float) -> Scan:
    return scan([Table(TableSettings(train=str(path), **settings)).listing("train")], jobs=1)[0]


def reasons(found: Scan) -> dict[str, str]:
    return {one.utterance_id: one.reason for one in found.rejected}


def test_common_voice_has_its_files_in_clips(tmp_path) -> None:
    write(tmp_path, little_speech())
    found = found_in(tmp_path / "en" / "train.tsv")
    assert essence(found.utterances) == expected(little_speech()["train"])


def test_nemo_manifests_are_lines_of_json(tmp_path) -> None:
    spoken = little_speech()["train"]
    with (tmp_path / "train_manifest.json").open("w") as file:
        for one in spoken:
            path = one.write(tmp_path / "wavs", ".wav")
            seconds = len(one.samples) / RATE
            row = {"audio_filepath": str(path), "duration": seconds, "text": one.text, "speaker": int(one.speaker)}
            file.write(json.dumps(row) + "\n")
    assert essence(found_in(tmp_path / "train_manifest.json").utterances) == expected(spoken)


def test_a_path_that_no_file_can_have_is_listed(tmp_path) -> None:
    spoken = little_speech()["train"]
    names = [one.write(tmp_path).name for one in spoken]
    rows = [f"{name}\t{one.text}" for name, one in zip(names, spoken, strict=True)]
    (tmp_path / "mine.tsv").write_text("\n".join(["path\tsentence", f"\0{rows[0]}", *rows[1:]]) + "\n")
    found = found_in(tmp_path / "mine.tsv")
    assert len(found.utterances) == len(spoken) - 1
    assert [one.reason.partition(";")[0] for one in found.rejected] == ["unprintable name or white space in the id"]


def test_what_a_recogniser_was_not_sure_of_is_left_out_of_train(tmp_path) -> None:
    spoken = little_speech()["train"]
    rows = ["file_name,text,how_sure"]
    for one, sure in zip(spoken, (0.9, 0.5, 0.25, "x"), strict=True):
        rows.append(f"{one.write(tmp_path).name},{one.text},{sure}")
    path = tmp_path / "metadata.csv"
    path.write_text("\n".join(rows) + "\n")
    (tmp_path / "dev.csv").write_text("\n".join(line.rpartition(",")[0] for line in rows) + "\n")
    given = {"confidence": "how_sure", "least_confidence": 0.5}
    found = found_in(path, **given)
    assert [one.utterance_id for one in found.utterances] == [one.utterance_id for one in spoken[:2]]
    assert reasons(found) == {
        spoken[2].utterance_id: "confidence 0.25 is below corpus.table.least_confidence = 0.5; metadata.csv, line 4",
        spoken[3].utterance_id: "malformed confidence: 'x' is not a number; metadata.csv, line 5",
    }
    assert len(found_in(path).utterances) == 4
    dev = Table(TableSettings(train=str(path), dev=str(tmp_path / "dev.csv"), **given)).listing("dev")
    assert len(dev.utterances) == 4
    with pytest.raises(UserError, match="has no column of confidence, which"):
        found_in(path, least_confidence=0.5)


def test_offset_and_duration_are_a_part_of_a_file(tmp_path) -> None:
    one = little_speech()["train"][0]
    path = one.write(tmp_path)
    rows = [{"audio_filepath": path.name, "offset": 0.1 * number, "duration": 0.1, "text": "a"} for number in range(3)]
    rows += [{"audio_filepath": path.name, "offset": 0.4, "text": "rest"}, {"audio_filepath": path.name, "text": "all"}]
    rows += [{"audio_filepath": path.name, "offset": "x", "duration": 0.1, "text": "a"}]
    (tmp_path / "a.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = found_in(tmp_path / "a.json")
    assert [(item.utterance_id, item.first_sample, item.num_samples) for item in found.utterances] == [
        ("10-1-0000", None, len(one.samples)),
        ("10-1-0000-0000000", 0, 1600),
        ("10-1-0000-0000100", 1600, 1600),
        ("10-1-0000-0000200", 3200, 1600),
        ("10-1-0000-0000400", 6400, len(one.samples) - 6400),
    ]
    assert reasons(found) == {"10-1-0000": "malformed time: 'x' is not a number; a.json, line 6"}


def test_an_audiofolder_is_named_by_its_folder(tmp_path) -> None:
    spoken = little_speech()["train"]
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "transcription", "speaker_id"])
        for one in spoken:
            table.writerow([f"train/{one.write(tmp_path / 'train').name}", f'{one.text}, "he" said\nso', one.speaker])
    found = found_in(tmp_path)
    assert [one.words[-3:] for one in found.utterances] == [("HE", "SAID", "SO")] * 4
    assert [one.speaker_id for one in found.utterances] == ["10", "10", "11", "11"]


def test_any_columns_can_be_named(tmp_path) -> None:
    one = little_speech()["train"][0]
    one.write(tmp_path / "sound")
    (tmp_path / "a.csv").write_text(
        f"\ufeffwho;what;where;nr\nmy voice;hello;sound/{one.utterance_id}.flac;first one\n"
    )
    with pytest.raises(
        UserError, match=r"no column of audio files \(path, .*its columns: who, what, where, nr; name it"
    ):
        found_in(tmp_path / "a.csv")
    found = found_in(tmp_path / "a.csv", audio="where", text="what", speaker="who", id="nr")
    assert [(item.utterance_id, item.speaker_id) for item in found.utterances] == [("first_one", "my voice")]
    with pytest.raises(UserError, match="has no column 'whom'; its columns: who, what"):
        found_in(tmp_path / "a.csv", audio="where", text="what", speaker="whom")


def test_files_of_the_same_name_are_told_apart_by_their_folders(tmp_path) -> None:
    lines = []
    for one in little_speech()["train"]:
        path = one.write(tmp_path / one.speaker).rename(tmp_path / one.speaker / f"{one.utterance_id[-1]}.flac")
        lines.append(f"{path.relative_to(tmp_path)},hello,{one.speaker}\n")
    (tmp_path / "a.csv").write_text("path,text,speaker\n" + "".join(lines))
    assert [one.utterance_id for one in found_in(tmp_path / "a.csv").utterances] == ["10-0", "10-1", "11-0", "11-1"]


def test_unknown_speakers_are_said(tmp_path) -> None:
    lines = [f"{one.write(tmp_path).name},hello\n" for one in little_speech()["train"]]
    (tmp_path / "a.csv").write_text("path,text\n" + "".join(lines))
    listing = Table(TableSettings(train=str(tmp_path / "a.csv"))).listing("train")
    assert "has no column of speakers" in listing.notes[0]
    assert len({one.speaker_id for one in listing.utterances}) == 4


def test_mp3_is_read_to_its_last_sample(tmp_path) -> None:
    one = little_speech()["train"][0]
    soundfile.write(tmp_path / "a.mp3", one.samples, RATE)
    (tmp_path / "a.csv").write_text("path,text\na.mp3,hello\n")
    found = found_in(tmp_path / "a.csv").utterances[0]
    assert found.num_samples == len(soundfile.read(tmp_path / "a.mp3")[0])


def test_bad_rows_are_listed_with_their_lines(tmp_path) -> None:
    names = [one.write(tmp_path).name for one in little_speech()["train"]]
    rows = [
        f"{names[0]},hello,10",
        f"{names[1]},hello",
        f"{names[2]},hello,",
        ",hello,10",
        "nowhere.flac,hello,10",
        f"{names[3]},?!,10",
    ]
    (tmp_path / "a.csv").write_bytes(("path,text,speaker\n" + "\n".join(rows) + "\n").encode() + b"caf\xe9,x,10\n")
    found = found_in(tmp_path / "a.csv")
    assert [one.utterance_id for one in found.utterances] == ["10-1-0000"]
    assert reasons(found) == {
        "line-3": "malformed line 3: 2 columns instead of 3",
        "11-1-0000": "no speaker; a.csv, line 4",
        "line-5": "no audio file; a.csv, line 5",
        "nowhere": "unreadable audio: No such file or directory; a.csv, line 6",
        "11-1-0001": "empty transcript; a.csv, line 7",
        "caf\ufffd,x,10": "malformed line 8: not UTF-8",
    }


def test_what_is_no_table_is_one_sentence(tmp_path) -> None:
    with pytest.raises(UserError, match="is a folder without metadata"):
        found_in(tmp_path)
    for content in ("", "path,text\n"):
        (tmp_path / "a.csv").write_text(content)
        with pytest.raises(UserError, match=r"a\.csv has no rows"):
            found_in(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("path,text\na.flac,hello\n")
    with pytest.raises(UserError, match=r"a\.flac and its other paths lead to no files"):
        found_in(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text('path,text\n"' + "x" * 200_000 + '",hello\n')
    with pytest.raises(UserError, match=r"a\.csv, line 2: not CSV"):
        found_in(tmp_path / "a.csv")
