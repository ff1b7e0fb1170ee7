"""Settings of the speech that a run works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from kd_asr.settings.ranges import AtLeast, Unit


@dataclass(frozen=True)
class CorpusSettings:
    """Where the speech comes from.

    Attributes:
        source: What the folder holds, named first in every report.
        root: Folder in LibriSpeech's layout, with the subsets as folders below it.
        train: Subset to train on.
        dev: Subset that every choice is made on.
        test: Subset that is read once, at the end.
        min_seconds: Length of the shortest utterances that are used.
        max_seconds: Length of the longest utterances that are used.
        embedded_size: Amount of synthetic speech to make: `full`, with 44 minutes to train on, or `miniature`, for a
            trial of the whole path in minutes that gives no results worth reading.
        embedded_seed: Seed of the synthetic speech, apart from `seed` so that runs with other seeds share their data.
    """

    source: Literal["librispeech", "embedded"] = "librispeech"
    root: str = "data/LibriSpeech"
    train: str = "train-clean-5"
    dev: str = "dev-clean-2"
    test: str = "test-clean"
    min_seconds: Annotated[float, AtLeast(0), Unit("seconds")] = 0.3
    max_seconds: Annotated[float, Unit("seconds")] = 40.0
    embedded_size: Literal["full", "miniature"] = "full"
    embedded_seed: Annotated[int, AtLeast(0)] = 1

    def problems(self) -> list[str]:
        """What does not go together."""
        found = []
        if self.max_seconds < self.min_seconds:
            found.append(f"max_seconds: {self.max_seconds} is less than min_seconds, {self.min_seconds}")
        if len({self.train, self.dev, self.test}) < 3:
            found.append(f"train, dev and test must differ: they are {self.train}, {self.dev}, {self.test}")
        return found
