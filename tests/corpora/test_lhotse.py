"""Lhotse's manifests, written here as the library writes them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from spoken import RATE, Speech, Spoken, essence, expected, little_speech

from kd_asr.corpora.lhotse import Lhotse, LhotseSettings
from kd_asr.corpora.scan import Scan, scan
from kd_asr.errors import UserError


def recording(one: Spoken, path: str) -> dict[str, Any]:
    return {
        "id": one.utterance_id,
        "sources": [{"type": "file", "channels": [0], "source": path}],
        "sampling_rate": RATE,
        "num_samples": len(one.samples),
        "duration": len(one.samples) / RATE,
        "channel_ids": [0],
    }


def supervision(one: Spoken) -> dict[str, Any]:
    return {
        "id": one.utterance_id,
        "recording_id": one.utterance_id,
        "start": 0.0,
        "duration": round(len(one.samples) / RATE, 8),
        "channel": 0,
        "text": one.text,
        "language": "English",
        "speaker": one.speaker,
    }


def write_lines(path: Path, entries: list[dict[str, Any]]) -> None:
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        file.write("".join(json.dumps(entry) + "\n" for entry in entries))


def write(folder: Path, speech: Speech) -> LhotseSettings:
    """mine_recordings_train.jsonl.gz and mine_supervisions_train.jsonl.gz, and so on; paths from the folder."""
    manifests = folder / "manifests"
    manifests.mkdir()
    for name, spoken in speech.items():
        paths = [one.write(folder / "audio" / name).relative_to(folder) for one in spoken]
        write_lines(
            manifests / f"mine_recordings_{name}.jsonl.gz",
            [recording(one, str(path)) for one, path in zip(spoken, paths, strict=True)],
        )
        write_lines(manifests / f"mine_supervisions_{name}.jsonl.gz", [supervision(one) for one in spoken])
    found = {name: str(manifests / f"mine_supervisions_{name}.jsonl.gz") for name in speech}
    return LhotseSettings(**found, audio_root=str(folder))


def found_in(path: Path) -> Scan:
    return scan([Lhotse(LhotseSettings(train=str(path))).listing("train")], jobs=1)[0]


def test_relative_paths_start_from_a_folder_above(tmp_path) -> None:
    write(tmp_path, little_speech())
    found = found_in(tmp_path / "manifests" / "mine_supervisions_train.jsonl.gz")
    assert essence(found.utterances) == expected(little_speech()["train"])


def test_cuts_are_parts_of_recordings(tmp_path) -> None:
    one = little_speech()["train"][0]
    path = one.write(tmp_path)
    cut = {"id": "cut", "start": 0.1, "duration": 0.4, "channel": 0, "type": "MonoCut"}
    said = [
        {**supervision(one), "id": "a", "start": 0.0, "duration": 0.1},
        {**supervision(one), "id": "b", "start": 0.1, "duration": 0.25},
    ]
    write_lines(tmp_path / "cuts.jsonl", [{**cut, "supervisions": said, "recording": recording(one, str(path))}])
    found = found_in(tmp_path / "cuts.jsonl")
    assert [(item.utterance_id, item.first_sample, item.num_samples) for item in found.utterances] == [
        ("a", 1600, 1600),
        ("b", 3200, 4000),
    ]


def test_bad_lines_are_listed(tmp_path) -> None:
    good, second, third, fourth = little_speech()["train"]
    paths = [str(one.write(tmp_path)) for one in (good, second, third, fourth)]
    recordings = [recording(one, path) for one, path in zip((good, second, third), paths, strict=False)]
    recordings[1]["sources"][0] |= {"type": "command", "source": "ffmpeg -i x -"}
    recordings[2]["transforms"] = [{"name": "Speed", "kwargs": {"factor": 1.1}}]
    write_lines(tmp_path / "recordings.jsonl", recordings)
    entries = [supervision(one) for one in (good, second, third, fourth)]
    write_lines(tmp_path / "supervisions.jsonl", [*entries, {**entries[0], "id": "x", "speaker": None}, {"id": "y"}])
    with (tmp_path / "supervisions.jsonl").open("a") as file:
        file.write("no json\n[1]\n")
    found = found_in(tmp_path / "supervisions.jsonl")
    assert [one.utterance_id for one in found.utterances] == [good.utterance_id]
    told = {one.utterance_id: one.reason for one in found.rejected}
    assert told.pop("line-7").startswith("malformed line 7: not JSON")
    assert told == {
        second.utterance_id: "malformed line 2: its recording is not one file; commands and addresses are not followed",
        third.utterance_id: "malformed line 3: its recording has transforms, which are not applied: save the "
        "transformed audio",
        fourth.utterance_id: f"malformed line 4: there is no recording '{fourth.utterance_id}'",
        "x": "malformed line 5: no speaker",
        "y": "malformed line 6: no 'recording_id'",
        "line-8": "malformed line 8: not an object with named values",
    }


def test_recordings_must_lie_beside_supervisions(tmp_path) -> None:
    one = little_speech()["train"][0]
    write_lines(tmp_path / "supervisions.jsonl", [supervision(one)])
    with pytest.raises(UserError, match="whose recordings are in no file beside it"):
        found_in(tmp_path / "supervisions.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}")[:10])
    with pytest.raises(UserError, match=r"cut\.jsonl\.gz cannot be read"):
        found_in(tmp_path / "cut.jsonl.gz")
