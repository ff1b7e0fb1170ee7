"""Audio without transcripts, in any layout: what a folder holds, and what of it can be used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from kd_asr.corpora.base import ListedUtterance, Listing
from kd_asr.corpora.folder import AUDIO_SUFFIXES
from kd_asr.corpora.manifest import Utterance
from kd_asr.corpora.sound import file_of
from kd_asr.errors import UserError
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Unit

# Begins the ids of pieces, so that no utterance of a corpus has one of them.
MARK = "unlabelled"


@dataclass(frozen=True)
class UnlabelledSettings:
    """Audio without transcripts, which joins the students' transfer set.

    Attributes:
        folders: Folders of audio files in any layout, compressed or not; transcripts are not read.
        speaker: Regular expression whose group, as in `^([0-9]+)-`, is the speaker in a file's path below its folder,
            for normalisation; empty: speakers are not known.
        normalisation: Frames that are normalised together where the speaker is not known: those of a `file`, or of the
            files of the same `folder`, an hour of them at most.
        longest_seconds: Length of the longest pieces; longer files are cut at pauses.
        copies: Perturbed copies of each piece in the transfer set, drawn like those of `distil.copies`.
        longest_silence: Longest silence that is kept: of a longer stretch that the ensemble takes for silence, so much
            remains, half of it at each end that borders on speech.
        silence_posterior: Posterior of silence above which a frame is taken for silence or noise.
    """

    folders: tuple[str, ...] = ()
    speaker: str = ""
    normalisation: Literal["file", "folder"] = "file"
    longest_seconds: Annotated[float, AtLeast(1), Unit("seconds")] = 40.0
    copies: Annotated[int, AtLeast(0), AtMost(1000)] = 0
    longest_silence: Annotated[float, Above(0), Unit("seconds")] = 1.0
    silence_posterior: Annotated[float, Above(0), AtMost(1)] = 0.5

    def problems(self) -> list[str]:
        """A pattern that cannot be used."""
        try:
            groups = re.compile(self.speaker).groups
        except re.error as error:
            return [f"speaker: {self.speaker!r} is not a regular expression: {error}"]
        if self.speaker and groups != 1:
            return [f"speaker: {self.speaker!r} needs one group in parentheses, it has {groups}"]
        return []


def list_audio(folders: Sequence[str | Path], settings: UnlabelledSettings) -> Listing:
    """The audio files of some folders and of those below them, each file once, in the order of their paths.

    The "speaker" of a file is what it is normalised with: its speaker, itself, or the folder that it lies in.

    Raises:
        UserError: a folder is missing, or holds no audio files.
    """
    listing = Listing(", ".join(map(str, folders)))
    seen: set[Path] = set()
    for number, given in enumerate(folders):
        root = Path(given).absolute()
        if not root.is_dir():
            raise UserError(f"there is no folder {root} of unlabelled audio: name one that exists with --unlabelled")
        paths = [path for path in _files(root) if path.suffix.lower() in AUDIO_SUFFIXES]
        if not paths:
            raise UserError(f"{root} holds no audio files ({', '.join(AUDIO_SUFFIXES)}): name another folder")
        for path in paths:
            below = path.relative_to(root)
            name = f"{MARK}-{number}-{'_'.join('-'.join(below.parts).split())}"
            if not str(path).isprintable():
                # A tab, a line break or bytes that are not UTF-8 would spoil every table the name comes into.
                listing.reject(ascii(name), ascii(str(path)), "unprintable name")
                continue
            real = path.resolve()
            if real in seen:
                listing.reject(name, path, "the same file as another one")
                continue
            seen.add(real)
            listing.utterances.append(ListedUtterance(name, f"{number}/{_together(below, settings)}", str(path), ""))
    return listing


def _files(root: Path) -> Iterator[Path]:
    """Files below a folder; hidden ones are left out."""
    for path in sorted(root.rglob("*")):
        if not any(part.startswith(".") for part in path.relative_to(root).parts) and not path.is_dir():
            yield path


def _together(below: Path, settings: UnlabelledSettings) -> str:
    """What a file is normalised with."""
    found = re.search(settings.speaker, below.as_posix()) if settings.speaker else None
    if found is not None and found[1]:
        return f"speaker {found[1]}"
    return f"file {below.as_posix()}" if settings.normalisation == "file" else f"folder {below.parent.as_posix()}"


class KnownAudio:
    """Audio of train, dev and test, which must not come back as unlabelled audio."""

    def __init__(self, sets: Mapping[str, Sequence[Utterance]]) -> None:
        """`sets`: the utterances of each set."""
        self._by_size: dict[int, dict[Path, str]] = {}
        self._digests: dict[Path, str] = {}
        for name, utterances in sets.items():
            for file in sorted({file_of(item.audio_path)[0] for item in utterances}):
                path = Path(file).resolve()
                if path.is_file():
                    self._by_size.setdefault(path.stat().st_size, {})[path] = name

    def set_of(self, path: Path) -> str | None:
        """The set that has a file of the same content; None if none has."""
        try:
            alike = self._by_size.get(path.stat().st_size, {})
            return next((name for known, name in alike.items() if self._digest(known) == self._digest(path)), None)
        except OSError:
            return None  # rejected as unreadable when its audio is read

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._digests[path]
