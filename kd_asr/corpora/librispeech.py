"""A corpus in LibriSpeech's layout: `SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac` beside `*.trans.txt`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kd_asr.artifacts import locked
from kd_asr.corpora.base import Corpus, ListedUtterance, Listing
from kd_asr.corpora.download import ARCHIVES, download_subset
from kd_asr.corpora.scan import Scan, scan
from kd_asr.corpora.transcripts import read_transcripts
from kd_asr.errors import UserError
from kd_asr.registry import corpus
from kd_asr.text import shown

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg")
TRANSCRIPT_SUFFIX = ".trans.txt"
# Lies in a folder that this program downloads into, and tells it from a corpus of the user's own.
DOWNLOAD_MARK = ".kd_asr_download"


@dataclass(frozen=True)
class LibriSpeechSettings:
    """A folder in LibriSpeech's layout.

    Attributes:
        root: Folder with the subsets as folders below it.
        train: Subset to train on.
        dev: Subset that every choice is made on.
        test: Subset that is read once, at the end.
        name: Name in reports.
    """

    root: str = "data/LibriSpeech"
    train: str = "train-clean-5"
    dev: str = "dev-clean-2"
    test: str = "test-clean"
    name: str = "LibriSpeech"

    def problems(self) -> list[str]:
        """What does not go together."""
        if len({self.train, self.dev, self.test}) < 3:
            return [f"train, dev and test must differ: they are {self.train}, {self.dev}, {self.test}"]
        return []


@corpus("librispeech")
class LibriSpeech(Corpus):
    """LibriSpeech, or any corpus in its layout: SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-0000.flac and .trans.txt."""

    Settings = LibriSpeechSettings
    description = "The speech of this run is read from a folder in LibriSpeech's layout."
    paths = ("root",)

    def __init__(self, settings: LibriSpeechSettings) -> None:
        super().__init__(settings)
        self.root = Path(settings.root)

    @property
    def sets(self) -> dict[str, str]:
        """Names of the subsets."""
        return {"train": self.settings.train, "dev": self.settings.dev, "test": self.settings.test}

    @property
    def label(self) -> str:
        """Name and subsets."""
        return f"{self.settings.name} ({', '.join(f'{name} {subset}' for name, subset in self.sets.items())})"

    def check(self) -> None:
        """Subsets and the speakers in them, by the names of folders alone."""
        for name, subset in self.sets.items():
            try:
                check_subset(self.root, subset)
            except UserError as error:
                raise UserError(f"{error}; choose one with --{name}") from error
        _check_speaker_folders(self.root, self.sets)

    def obtain(self, jobs: int = 0) -> None:
        """Download what is missing from a folder that is ours; a folder of the user's own is only checked."""
        if (self.root / DOWNLOAD_MARK).exists():
            missing = [name for name in self.sets.values() if name in ARCHIVES and not (self.root / name).is_dir()]
            if missing:
                with locked(self.root.parent):
                    for name in missing:
                        download_subset(self.root, name)
        for name in self.sets.values():
            check_subset(self.root, name)

    def listing(self, set_name: str) -> Listing:
        """The utterances of a subset, chapter by chapter."""
        return list_subset(self.root, self.sets[set_name])


def subset_names(root: Path) -> list[str]:
    """Folders below `root` that look like subsets: `SPEAKER/CHAPTER` folders with audio or transcripts in them."""
    if not root.is_dir():
        return []
    return sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".") and next(path.glob(f"*/*/*{TRANSCRIPT_SUFFIX}"), None)
    )


def check_subset(root: Path, subset: str) -> Path:
    """The folder of a subset.

    Raises:
        UserError: there is no such folder, or no transcripts in it; the subsets that are there are named.
    """
    if not root.is_dir():
        raise UserError(f"there is no corpus folder {root}")
    folder = root / subset
    if folder.is_dir() and next(folder.glob(f"*/*/*{TRANSCRIPT_SUFFIX}"), None) is not None:
        return folder
    lacks = f"{folder} has no transcripts" if folder.is_dir() else f"{root} has no subset {subset!r}"
    others = ", ".join(subset_names(root))
    if others:
        raise UserError(f"{lacks}; subsets there: {others}")
    raise UserError(
        f"{lacks}: wanted is SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER{TRANSCRIPT_SUFFIX} with its audio, found is "
        f"{_found(root)}"
    )


def _found(root: Path) -> str:
    """What lies in a folder without subsets, and what to do where that is known."""
    entries = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    named = ", ".join(shown(path.name) for path in entries[:5])
    named += f" and {len(entries) - 5} more" if len(entries) > 5 else ""
    below = next((path for path in entries if subset_names(path)), None)
    if below is not None:
        return f"{shown(below.name)}, which has them: name {shown(below)}"
    if any(next(root.glob(f"{depth}*{TRANSCRIPT_SUFFIX}"), None) for depth in ("", "*/", "*/*/")):
        return f"{named}, the inside of a subset: name the folder around it"
    if any(path.name.endswith((".tar", ".tar.gz", ".tgz", ".zip")) for path in entries):
        return f"{named}: unpack the archives"
    for corpus_name, sign in (("kaldi", "wav.scp"), ("lhotse", "*.jsonl.gz"), ("table", "*.tsv"), ("table", "*.csv")):
        if any(next(root.glob(f"{depth}{sign}"), None) for depth in ("", "*/", "*/*/")):
            return f"{named}: try --corpus {corpus_name}"
    if any(next(root.glob(f"{depth}{sign}"), None) for depth in ("", "*/", "*/*/") for sign in ("*.txt", "*.lab")):
        return f"{named}: where each audio file has its transcript beside it, try --corpus folder"
    return named or "nothing"


def _check_speaker_folders(root: Path, names: Mapping[str, str]) -> None:
    """Speakers are folders, so those that two sets share are seen before any file is read."""
    folders = {key: {path.name for path in (root / name).iterdir() if path.is_dir()} for key, name in names.items()}
    for first, second in (("train", "dev"), ("train", "test"), ("dev", "test")):
        shared = sorted(folders[first] & folders[second])
        if shared:
            raise UserError(
                f"{names[first]} and {names[second]} share speakers ({', '.join(shared[:10])}): results would be too "
                f"good; choose other subsets with --{first} and --{second}"
            )


def list_subset(root: Path, subset: str) -> Listing:
    """The utterances of a subset.

    Raises:
        UserError: as `check_subset`.
    """
    folder = check_subset(root, subset)
    listing = Listing(str(folder))
    for chapter in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        _list_chapter(chapter, listing)
    return listing


def _list_chapter(chapter: Path, listing: Listing) -> None:
    """Add what is in a chapter's folder."""
    files = sorted(chapter.iterdir())
    texts: dict[str, str] = {}
    told = set()
    for path in files:
        if not path.name.endswith(TRANSCRIPT_SUFFIX):
            continue
        try:
            found, bad = read_transcripts(path)
        except OSError as error:
            listing.reject(path.name, path, f"unreadable transcripts: {error.strerror}")
            told.add(path.name)
            continue
        texts |= found
        listing.rejected.extend(bad)
        told |= {entry.utterance_id for entry in bad}
    with_audio = set()
    for path in filter(_is_audio, files):
        utterance_id = path.stem
        if not str(path).isprintable():
            # A tab, a line break or bytes that are not UTF-8 would spoil every table the name comes into.
            listing.reject(ascii(utterance_id), ascii(str(path)), "unprintable file name")
        elif utterance_id in with_audio:
            listing.reject(utterance_id, path, "second audio file for one utterance id")
        else:
            with_audio.add(utterance_id)
            if texts.get(utterance_id):
                listing.utterances.append(
                    ListedUtterance(
                        utterance_id,
                        chapter.parent.name,
                        str(path.absolute()),
                        texts[utterance_id],
                        chapter_id=chapter.name,
                    )
                )
            elif utterance_id not in told:
                listing.reject(
                    utterance_id, path, "empty transcript" if utterance_id in texts else "no transcript line"
                )
    for utterance_id in sorted(texts.keys() - with_audio - told):
        listing.reject(utterance_id, chapter, "transcript line without audio")


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")


def scan_subset(
    root: Path, subset: str, *, min_seconds: float = 0.0, max_seconds: float = float("inf"), jobs: int = 0
) -> Scan:
    """What `scan` finds in a single subset."""
    return scan([list_subset(root, subset)], min_seconds=min_seconds, max_seconds=max_seconds, jobs=jobs)[0]
