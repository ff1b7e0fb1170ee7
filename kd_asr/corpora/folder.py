"""Folders of audio files with the transcript of each beside it: a.wav and a.txt, or a.lab."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kd_asr.corpora.base import Corpus, ListedUtterance, Listing, SetsSettings
from kd_asr.corpora.text_files import read_lines
from kd_asr.errors import UserError
from kd_asr.registry import corpus

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
TEXT_SUFFIXES = (".txt", ".lab")


@dataclass(frozen=True)
class FolderSettings(SetsSettings):
    """Folders of audio files and transcripts.

    Attributes:
        train: Folder to train on; files may lie in folders below it.
        dev: Folder that every choice is made on; empty: speakers of train, see prepare.dev_share.
        test: Folder that is read once, at the end; empty: speakers of train, see prepare.test_share.
        speaker: Regular expression whose group, as in `^([a-z]+)_`, is the speaker in a file's path below the folder;
            empty: the first folder of that path.
        text: Regular expression whose group is the transcript in a file's path, instead of a file beside it.
    """

    speaker: str = ""
    text: str = ""

    def problems(self) -> list[str]:
        """What does not go together."""
        found = super().problems()
        for name in ("speaker", "text"):
            try:
                pattern = re.compile(getattr(self, name))
            except re.error as error:
                found.append(f"{name}: {getattr(self, name)!r} is not a regular expression: {error}")
            else:
                if pattern.pattern and pattern.groups != 1:
                    found.append(f"{name}: {pattern.pattern!r} needs one group in parentheses, it has {pattern.groups}")
        return found


@corpus("folder")
class Folder(Corpus):
    """Folders of audio files with the transcript of a.wav in a.txt or a.lab beside it."""

    Settings = FolderSettings
    description = "The speech of this run is read from folders of audio files with their transcripts beside them."

    def listing(self, set_name: str) -> Listing:
        """The utterances of a folder, in the order of their paths."""
        root = Path(getattr(self.settings, set_name)).absolute()
        if not root.is_dir():
            raise UserError(f"there is no folder {root}")
        paths = sorted(path for path in root.rglob("*") if not path.name.startswith(".") and not path.is_dir())
        audio = [path for path in paths if path.suffix.lower() in AUDIO_SUFFIXES]
        if not audio:
            raise UserError(f"{root} holds no audio files ({', '.join(AUDIO_SUFFIXES)})")
        known = not self.settings.speaker and any(path.parent == root for path in audio)
        note = (
            f"{root}: speakers are not known of files that lie in it and not in folders of speakers, so each of them "
            "counts as a speaker of its own, and train, dev and test may share voices: see corpus.folder.speaker"
        )
        listing = Listing(str(root), notes=(note,) if known else ())
        for path in audio:
            name = "_".join("-".join(path.relative_to(root).with_suffix("").parts).split())
            text = self._text(path, root, name, listing)
            speaker = self._speaker(path, root, name)
            if text is None:
                continue
            if not speaker:
                listing.reject(name, path, f"no speaker in its path: {self.settings.speaker!r} does not match")
            else:
                listing.utterances.append(ListedUtterance(name, speaker, str(path), text))
        stems = {path.with_suffix("") for path in audio}
        for path in paths:
            if path.suffix.lower() in TEXT_SUFFIXES and path.with_suffix("") not in stems and not self.settings.text:
                listing.reject(path.stem, path, "transcript without audio")
        return listing

    def _text(self, path: Path, root: Path, name: str, listing: Listing) -> str | None:
        """Transcript of an audio file; None: it has none and is rejected."""
        if self.settings.text:
            found = re.search(self.settings.text, path.relative_to(root).as_posix())
            if found is None:
                listing.reject(name, path, f"no transcript in its path: {self.settings.text!r} does not match")
            return (found[1] or "") if found else None
        beside = next((path.with_suffix(one) for one in TEXT_SUFFIXES if path.with_suffix(one).is_file()), None)
        if beside is None:
            listing.reject(name, path, f"no transcript: neither {' nor '.join(TEXT_SUFFIXES)} beside it")
            return None
        before = len(listing.rejected)
        text = " ".join(text for _, text in read_lines(beside, listing))
        return text if len(listing.rejected) == before else None

    def _speaker(self, path: Path, root: Path, name: str) -> str:
        """Speaker of an audio file; empty: the pattern does not match."""
        below = path.relative_to(root)
        if self.settings.speaker:
            found = re.search(self.settings.speaker, below.as_posix())
            return (found[1] or "") if found else ""
        return below.parts[0] if len(below.parts) > 1 else name
