"""Settings of how the speech of a corpus is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.settings.ranges import Above, AbsentMeans, AtLeast, Below, Unit


@dataclass(frozen=True)
class SpellingSettings:
    """Language of the speech, and tokens of transcripts, lexicons and language models that are no words.

    Attributes:
        language: Name of espeak-ng's voice, such as `de`, `fr` or `pt-br`. In other languages than English all
            pronunciations that `lexicon.path` lacks are espeak-ng's, in phones of the International Phonetic Alphabet,
            and whole and decimal numbers are written out by num2words.
        unknown: Names of a word that nobody could write down, in any case, in brackets of any kind or after `!`, such
            as `<unk>` and `[SPN]`: those of Kaldi, SRILM, Julius, MFA, ESPnet and the LDC's corpora.
        left_out: Further tokens to leave out, in any case, such as `%hesitation` or `xxx`; what else is in brackets
            (`[laughter]`, `<noise>`, `{breath}`) or after `!` (`!SIL`) is left out anyhow.
    """

    language: Annotated[str, AbsentMeans("en-us")] = "en-us"
    unknown: tuple[str, ...] = (
        *("unk", "unknown", "oov", "spn", "spoken_noise", "spoken-noise", "unintelligible", "inaudible"),
    )
    left_out: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """What is no token."""
        return [
            f"{name}: {token!r} is not a single token"
            for name in ("unknown", "left_out")
            for token in getattr(self, name)
            if len(token.split()) != 1
        ]


@dataclass(frozen=True)
class PrepareSettings:
    """Which utterances of a corpus are used.

    Attributes:
        min_seconds: Length of the shortest utterances that are used.
        max_seconds: Length of the longest utterances that are used.
        dev_share: Share of the speech whose speakers become dev, where the corpus has no dev.
        test_share: Share of the speech whose speakers become test, where the corpus has no test.
        split_seed: Seed of the choice of these speakers, apart from `seed` so that runs with other seeds share it.
    """

    min_seconds: Annotated[float, AtLeast(0), Unit("seconds")] = 0.3
    max_seconds: Annotated[float, Unit("seconds")] = 40.0
    dev_share: Annotated[float, Above(0), Below(0.5)] = 0.1
    test_share: Annotated[float, Above(0), Below(0.5)] = 0.1
    split_seed: Annotated[int, AtLeast(0)] = 1

    def problems(self) -> list[str]:
        """What does not go together."""
        if self.max_seconds < self.min_seconds:
            return [f"max_seconds: {self.max_seconds} is less than min_seconds, {self.min_seconds}"]
        return []
