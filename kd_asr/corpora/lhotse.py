"""Lhotse's manifests: recordings and supervisions, or cuts, as JSON lines, gzipped or not.

The format is described at https://lhotse.readthedocs.io/en/latest/corpus.html. Only what it says of files, times,
speakers and texts is read, so that the library is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from kd_asr.corpora.base import Corpus, ListedUtterance, Listing, SetsSettings
from kd_asr.corpora.text_files import decimal, read_lines, start_of_paths
from kd_asr.errors import UserError
from kd_asr.registry import corpus

FOLDERS_ABOVE = 3


@dataclass(frozen=True)
class LhotseSettings(SetsSettings):
    """Manifests of lhotse.

    Attributes:
        train: Supervisions to train on, with the recordings beside them in a file of the same name but `recordings` for
            `supervisions`; or cuts.
        dev: The same, that every choice is made on; empty: speakers of train, see prepare.dev_share.
        test: The same, that is read once, at the end; empty: speakers of train, see prepare.test_share.
        audio_root: Folder that relative paths start from; empty: the manifest's or the nearest one above it.
    """

    audio_root: str = ""


@corpus("lhotse")
class Lhotse(Corpus):
    """Lhotse's manifests: supervisions with their recordings, or cuts, as .jsonl or .jsonl.gz."""

    Settings = LhotseSettings
    description = "The speech of this run is read from manifests of lhotse."
    paths = (*Corpus.paths, "audio_root")

    def listing(self, set_name: str) -> Listing:
        """The supervisions of a manifest."""
        path = Path(getattr(self.settings, set_name)).absolute()
        listing = Listing(str(path))
        entries = list(_objects(path, listing))
        recordings: Mapping[str, Any] = {}
        if any("supervisions" not in entry for _, entry in entries):
            beside = path.with_name(path.name.replace("supervisions", "recordings"))
            if beside == path or not beside.is_file():
                raise UserError(
                    f"{path} holds supervisions, whose recordings are in no file beside it: call the two files by the "
                    "same name but for the words supervisions and recordings"
                )
            recordings = {str(entry.get("id")): entry for _, entry in _objects(beside, listing)}
        found = []
        for number, entry in entries:
            try:
                found += _utterances(entry, recordings, f"{path.name}, line {number}")
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                fault = f"no {error}" if isinstance(error, KeyError) else str(error)
                listing.reject(str(entry.get("id", f"line-{number}")), path, f"malformed line {number}: {fault}")
        root = start_of_paths(
            path,
            [item.audio_path for item in found],
            self.settings.audio_root,
            [path.parent, *islice(path.parent.parents, FOLDERS_ABOVE)],
            setting="corpus.lhotse.audio_root",
        )
        listing.utterances.extend(replace(item, audio_path=str(root / item.audio_path)) for item in found)
        return listing


def _objects(path: Path, listing: Listing) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and content of each line; malformed ones are rejected."""
    for number, text in read_lines(path, listing):
        if not text.strip():
            continue
        try:
            entry = json.loads(text)
        except ValueError as error:
            listing.reject(f"line-{number}", path, f"malformed line {number}: not JSON, {error}")
            continue
        if isinstance(entry, dict):
            yield number, entry
        else:
            listing.reject(f"line-{number}", path, f"malformed line {number}: not an object with named values")


def _utterances(entry: Mapping[str, Any], recordings: Mapping[str, Any], place: str) -> list[ListedUtterance]:
    """Those of a line: a supervision, or the supervisions of a cut, whose times count from where the cut begins.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the line lacks something, or it cannot be used.
    """
    if "supervisions" in entry:
        cut_start, of_recording = decimal(str(entry["start"])), entry["recording"]
        return [_utterance(one, cut_start, of_recording, place) for one in entry["supervisions"]]
    name = str(entry["recording_id"])
    if name not in recordings:
        raise ValueError(f"there is no recording {name!r}")
    return [_utterance(entry, 0.0, recordings[name], place)]


def _utterance(
    supervision: Mapping[str, Any], cut_start: float, recording: Mapping[str, Any], place: str
) -> ListedUtterance:
    sources = recording["sources"]
    if len(sources) != 1 or sources[0]["type"] != "file":
        raise ValueError("its recording is not one file; commands and addresses are not followed")
    if recording.get("transforms"):
        raise ValueError("its recording has transforms, which are not applied: save the transformed audio")
    if not supervision.get("speaker"):
        raise ValueError("no speaker")
    start, duration = (decimal(str(supervision[key])) for key in ("start", "duration"))
    of_recording, rate = (decimal(str(recording[key])) for key in ("duration", "sampling_rate"))
    start += cut_start
    whole = start == 0 and abs(duration - of_recording) * rate < 1
    return ListedUtterance(
        str(supervision["id"]),
        str(supervision["speaker"]),
        str(sources[0]["source"]),
        str(supervision.get("text") or ""),
        "" if whole else str(recording["id"]),
        None if whole else (start, start + duration),
        place,
    )
