"""Kaldi's data folders: wav.scp, text, utt2spk or spk2utt, and segments where utterances are parts of recordings.

The format is described at https://kaldi-asr.org/doc/data_prep.html. Commands in wav.scp, which end in `|`, are refused:
what they print is not this program's to know. `archive.ark:1234` is the WAV file at that byte of an archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kd_asr.corpora.base import Corpus, ListedUtterance, Listing, SetsSettings
from kd_asr.corpora.sound import file_of
from kd_asr.corpora.text_files import decimal, read_lines, start_of_paths
from kd_asr.errors import UserError
from kd_asr.registry import corpus

# Relative paths start from the data folder or from one of so many above it.
FOLDERS_ABOVE = 3


@dataclass(frozen=True)
class KaldiSettings(SetsSettings):
    """Kaldi data folders.

    Attributes:
        train: Data folder to train on.
        dev: Data folder that every choice is made on; empty: speakers of train, see prepare.dev_share.
        test: Data folder that is read once, at the end; empty: speakers of train, see prepare.test_share.
        audio_root: Folder that relative paths in wav.scp start from; empty: the data folder or the nearest one above it
            from which they lead to a file.
    """

    audio_root: str = ""


@dataclass(frozen=True)
class _Line:
    """What follows the first field of a line."""

    text: str
    place: str


@corpus("kaldi")
class Kaldi(Corpus):
    """Kaldi data folders: wav.scp, text, utt2spk (or spk2utt), and segments if there are any."""

    Settings = KaldiSettings
    description = "The speech of this run is read from Kaldi data folders."
    paths = (*Corpus.paths, "audio_root")

    def listing(self, set_name: str) -> Listing:
        """The utterances of a data folder."""
        folder = Path(getattr(self.settings, set_name)).absolute()
        for name in ("wav.scp", "text"):
            if not (folder / name).is_file():
                raise UserError(f"{folder} is no Kaldi data folder: there is no {name} in it")
        listing = Listing(str(folder))
        recordings = self._recordings(folder, listing)
        speakers = _speakers(folder, listing)
        texts = _table(folder / "text", listing)
        segments = _segments(folder, recordings, listing)
        told = {entry.utterance_id for entry in listing.rejected}
        for name, (recording, segment, place) in segments.items():
            if name in told:
                continue
            if name not in texts:
                listing.reject(name, folder / "text", f"no transcript line; {place}")
            elif name not in speakers:
                listing.reject(name, folder, f"no speaker; {place}")
            else:
                text, audio = texts[name].text, recordings[recording].text
                chapter = recording if segment else ""
                listing.utterances.append(
                    ListedUtterance(name, speakers[name], audio, text, chapter, segment, place)
                )
        for name in texts.keys() - segments.keys() - told:
            listing.reject(name, folder / "text", f"transcript line without audio; {texts[name].place}")
        return listing

    def _recordings(self, folder: Path, listing: Listing) -> dict[str, _Line]:
        """Path of each recording, absolute."""
        path = folder / "wav.scp"
        found = _table(path, listing)
        for line in found.values():
            if line.text.endswith("|") or line.text.startswith("|"):
                raise UserError(
                    f"{path}, {line.place.rpartition(', ')[2]}: {line.text!r} is a command, and commands are not run: "
                    "write what it prints into a WAV or FLAC file and name that"
                )
        root = start_of_paths(
            path,
            [file_of(line.text)[0] for line in found.values()],
            self.settings.audio_root,
            [folder, *islice(folder.parents, FOLDERS_ABOVE)],
            setting="corpus.kaldi.audio_root",
        )
        return {name: _Line(str(root / line.text), line.place) for name, line in found.items()}


def _table(path: Path, listing: Listing) -> dict[str, _Line]:
    """A file of `key value` lines; a key with several lines keeps none of them."""
    found: dict[str, _Line] = {}
    repeated = set()
    for number, text in read_lines(path, listing):
        key, *rest = text.split(maxsplit=1) or [""]
        if key in found:
            repeated.add(key)
            listing.reject(key, path, f"more than one line; {path.name}, line {number}")
        elif key:
            found[key] = _Line(rest[0].strip() if rest else "", f"{path.name}, line {number}")
    return {key: line for key, line in found.items() if key not in repeated}


def _speakers(folder: Path, listing: Listing) -> dict[str, str]:
    """Speaker of each utterance."""
    if (folder / "utt2spk").is_file():
        return {name: line.text for name, line in _table(folder / "utt2spk", listing).items() if line.text}
    if (folder / "spk2utt").is_file():
        of_speaker = _table(folder / "spk2utt", listing)
        return {name: speaker for speaker, line in of_speaker.items() for name in line.text.split()}
    raise UserError(f"{folder} has neither utt2spk nor spk2utt: speakers must be known, to keep train and test apart")


def _segments(
    folder: Path, recordings: Mapping[str, _Line], listing: Listing
) -> dict[str, tuple[str, tuple[float, float | None] | None, str]]:
    """Recording, (start, end) and place of each utterance; without a file of segments they are the recordings."""
    path = folder / "segments"
    if not path.is_file():
        return {name: (name, None, line.place) for name, line in recordings.items()}
    found: dict[str, tuple[str, tuple[float, float | None] | None, str]] = {}
    for name, line in _table(path, listing).items():
        try:
            recording, *times = line.text.split()
            start, end = map(decimal, times)
        except ValueError:
            listing.reject(name, path, f"malformed segment, not `utterance recording start end`; {line.place}")
            continue
        if recording not in recordings:
            listing.reject(name, path, f"no such recording in wav.scp: {recording}; {line.place}")
        else:
            # Kaldi's -1: to the end of the recording.
            found[name] = (recording, (start, None if end < 0 else end), line.place)
    return found
