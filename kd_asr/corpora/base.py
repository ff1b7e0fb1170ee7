"""What a corpus is: it lists the utterances of its sets, and has a name in reports; all else is done for it.

A corpus is a subclass of `Corpus` with `@corpus("name")`. What it lists is checked, sorted and written as manifests by
the stage `prepare`, which also sets dev and test apart where the corpus has none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from kd_asr.corpora.manifest import SETS, Rejected
from kd_asr.errors import UserError
from kd_asr.registry import Named, find, name_of


@dataclass(frozen=True)
class ListedUtterance:
    """An utterance as its corpus lists it, before its audio is read.

    Attributes:
        utterance_id: Unique in its set, without white space.
        speaker_id: Features are normalised, and sets kept apart, by speaker.
        audio_path: Absolute path of a file that soundfile reads, or `archive.ark:1234`, a WAV file in a Kaldi archive.
        text: The transcript as it is written; it is spelt where it is checked (`corpora.spelling`).
        chapter_id: The recording session, if it is known.
        segment: (start, end) in seconds where the utterance is a part of its file; end None: that of the file.
        place: File and line that it was read from, for messages.
    """

    utterance_id: str
    speaker_id: str
    audio_path: str
    text: str
    chapter_id: str = ""
    segment: tuple[float, float | None] | None = None
    place: str = ""


@dataclass(frozen=True)
class Listing:
    """The utterances of one set.

    Attributes:
        place: Folder or file that they were read from, for messages.
        utterances: In any order.
        rejected: What could not even be listed, and why.
        notes: Sentences for the user, such as that speakers are not known.
    """

    place: str
    utterances: list[ListedUtterance] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def reject(self, utterance_id: str, path: str | Path, reason: str) -> None:
        """Leave an utterance out."""
        self.rejected.append(Rejected(utterance_id, str(path), reason, "prepare"))


@dataclass(frozen=True)
class SetsSettings:
    """Where the sets of a corpus lie.

    Attributes:
        train: What is trained on.
        dev: What every choice is made on; empty: speakers of train, see prepare.dev_share.
        test: What is read once, at the end; empty: speakers of train, see prepare.test_share.
        name: Name in reports; empty: that of the folder around train, or around the `data` that it lies in.
    """

    train: str = ""
    dev: str = ""
    test: str = ""
    name: str = ""

    def problems(self) -> list[str]:
        """What does not go together."""
        given = [value for value in (self.train, self.dev, self.test) if value]
        if len(set(given)) < len(given):
            return [f"train, dev and test must differ: they are {', '.join(given)}"]
        return []


class Corpus(ABC):
    """A corpus: its sets, their utterances, and its name. Nothing is read when it is made.

    Attributes:
        Settings: A frozen dataclass; `SetsSettings` or a subclass of it suits most corpora.
        description: One sentence on the speech, for reports.
        paths: The settings that are paths, which a run folder keeps as absolute ones.
    """

    Settings: ClassVar[Any] = SetsSettings
    description: ClassVar[str] = "The speech of this run is the user's own."
    paths: ClassVar[tuple[str, ...]] = ("train", "dev", "test")

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @property
    def sets(self) -> dict[str, str]:
        """The sets that it has, of `train`, `dev` and `test`, and what each is called."""
        given = {name: getattr(self.settings, name) for name in SETS}
        return {name: Path(value).name for name, value in given.items() if value}

    @property
    def label(self) -> str:
        """Its name for the titles of reports, with its sets."""
        above = [folder.name for folder in Path(self.settings.train).absolute().parents]
        telling = [name for name in above if name not in ("data", "")]
        name = self.settings.name or next(iter(telling), name_of("corpus", type(self)))
        return f"{name} ({', '.join(f'{one} {what}' for one, what in set_names(self).items())})"

    @abstractmethod
    def listing(self, set_name: str) -> Listing:
        """The utterances of one of its `sets`; their audio is not read.

        Raises:
            UserError: the set cannot be listed at all.
        """

    def check(self) -> None:
        """Say what is wrong before any work starts.

        Raises:
            UserError: a set cannot be listed, or lists nothing.
        """
        listings(self)

    def obtain(self, jobs: int = 0) -> None:  # noqa: B027 - most corpora are there
        """Bring the speech to the disk, if it is not there.

        Args:
            jobs: processes, 0 for one per core.
        """

    @property
    def unlabelled(self) -> tuple[Path, ...]:
        """Folders of audio without transcripts that it brings for the students' transfer set."""
        return ()

    def true_phones(self, set_name: str) -> Path | None:
        """The file of true phone times of a set, if there is one."""
        return None

    def settled(self) -> Any:
        """Its settings with absolute paths, so that they hold from any working directory."""
        given = {name: getattr(self.settings, name) for name in self.paths}
        return replace(self.settings, **{name: str(Path(value).absolute()) for name, value in given.items() if value})


def set_names(corpus: Corpus) -> Mapping[str, str]:
    """What train, dev and test are called, those included that are set apart from train."""
    return {name: corpus.sets.get(name, "speakers of train") for name in SETS}


def listings(corpus: Corpus) -> dict[str, Listing]:
    """What a corpus lists of each of its sets.

    Raises:
        UserError: there is no train, a set cannot be listed, or lists nothing.
    """
    if "train" not in corpus.sets:
        name = name_of("corpus", type(corpus))
        raise UserError(f"corpus.{name}.train is empty: name the speech to train on, with --train for example")
    found = {name: corpus.listing(name) for name in SETS if name in corpus.sets}
    for listing in found.values():
        if not listing.utterances:
            first = next((f": {one.reason} ({one.path})" for one in listing.rejected), "")
            raise UserError(f"{listing.place} lists no utterance that can be used{first}")
    return found


def corpus_of(named: Named) -> Corpus:
    """The corpus of a setting.

    Raises:
        UserError: its class is no corpus.
    """
    cls = find("corpus", named.name)
    if not issubclass(cls, Corpus):
        raise UserError(f"the corpus {named.name!r} is not a subclass of {Corpus.__module__}.{Corpus.__name__}")
    made: Corpus = cls(named.settings)
    return made
