"""The embedded corpus as a corpus: synthetic speech, made on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from kd_asr.artifacts import locked
from kd_asr.console import say
from kd_asr.corpora.base import Corpus, Listing
from kd_asr.corpora.languages import is_english
from kd_asr.corpora.librispeech import check_subset, list_subset
from kd_asr.corpora.synthetic import (
    FULL,
    LARGE,
    MINIATURE,
    SUBSETS,
    UNLABELLED,
    is_complete,
    synthesize,
    true_phones_path,
)
from kd_asr.registry import corpus
from kd_asr.settings.ranges import AbsentMeans, AtLeast

SIZES = {"full": FULL, "large": LARGE, "miniature": MINIATURE}


@dataclass(frozen=True)
class EmbeddedSettings:
    """Synthetic speech.

    Attributes:
        root: Folder that it is made in.
        size: Amount of speech: `full`, with 44 minutes to train on; `large`, with 90 more minutes without transcripts,
            for the students, and a test set of 6,000 words by 16 voices; or `miniature`, for a trial of the whole path
            in minutes that gives no results worth reading.
        language: Name of espeak-ng's voice, as of `spelling.language`; in other languages than English the sentences
            are numbers.
        seed: Seed of the speech, apart from the run's `seed` so that runs with other seeds share their data.
    """

    root: str = "data/embedded"
    size: Literal["full", "large", "miniature"] = "full"
    language: Annotated[str, AbsentMeans("en-us")] = "en-us"
    seed: Annotated[int, AtLeast(0)] = 1


@corpus("embedded")
class Embedded(Corpus):
    """Synthetic speech of espeak-ng in noise and rooms, made where neither a corpus nor a network is at hand."""

    Settings = EmbeddedSettings
    description = (
        "The speech of this run was made by espeak-ng from a small grammar, with noise and reverberation: its figures "
        "show that the pipeline works, and say nothing of real speech."
    )
    paths = ("root",)

    def __init__(self, settings: EmbeddedSettings) -> None:
        super().__init__(settings)
        self.root = Path(settings.root)

    @property
    def sets(self) -> dict[str, str]:
        """Its subsets, which bear the names of the sets."""
        return {name: name for name in SUBSETS}

    @property
    def label(self) -> str:
        """What it is, so that it can never be mistaken for real speech."""
        language = self.settings.language
        spoken = "" if is_english(language) else f", {language}"
        return f"SYNTHETIC speech (embedded corpus, espeak-ng{spoken}), not LibriSpeech"

    @property
    def unlabelled(self) -> tuple[Path, ...]:
        """Its speech without transcripts, if its size has any."""
        return (self.root / UNLABELLED,) if UNLABELLED in SIZES[self.settings.size].sets else ()

    def check(self) -> None:
        """Nothing: what is not there is made."""

    def obtain(self, jobs: int = 0) -> None:
        """Make it, unless it is there."""
        seed, size, language = self.settings.seed, SIZES[self.settings.size], self.settings.language
        if is_complete(self.root, seed=seed, size=size, language=language):
            say(f"{self.root}: embedded corpus of seed {seed}, made before")
        else:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.root.parent):
                # Another run may have made it in the meantime.
                if not is_complete(self.root, seed=seed, size=size, language=language):
                    synthesize(self.root, seed=seed, size=size, jobs=jobs, language=language)
        for name in SUBSETS:
            check_subset(self.root, name)

    def listing(self, set_name: str) -> Listing:
        """The utterances of a set."""
        return list_subset(self.root, set_name)

    def true_phones(self, set_name: str) -> Path | None:
        """Where espeak-ng's phoneme times lie."""
        path = true_phones_path(self.root, set_name)
        return path if path.is_file() else None
