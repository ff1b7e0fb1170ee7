"""Pronunciations: words and the phones they are made of."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kd_asr.alignment.topology import SILENCE, UNKNOWN_PHONE
from kd_asr.corpora.spelling import is_special, upper_word
from kd_asr.errors import UserError

_ALTERNATIVE = re.compile(r"\(\d+\)$")
_COMMENT = re.compile(r"(^|\s)#.*")
_PROBABILITY = (
    "a probability, as in Kaldi's lexiconp.txt and MFA's dictionaries, which are not used here: leave the word and its "
    "phones alone on each line"
)
_DECIMAL = re.compile(r"(\d+\.\d*|\.\d+)([eE][-+]?\d+)?|\d+[eE]-\d+", re.ASCII)


@dataclass(frozen=True)
class Lexicon:
    """Pronunciations by word.

    Attributes:
        pronunciations: upper-case word to its variants, each a tuple of phones, the first listed first.
    """

    pronunciations: dict[str, tuple[tuple[str, ...], ...]]

    def variants(self, word: str) -> tuple[tuple[str, ...], ...]:
        """Pronunciations of a word; one the lexicon lacks is the phone of unknown words."""
        return self.pronunciations.get(word, ((UNKNOWN_PHONE,),))

    @property
    def phones(self) -> tuple[str, ...]:
        """Silence, the phone of unknown words, then all others sorted."""
        used = {phone for variants in self.pronunciations.values() for variant in variants for phone in variant}
        return (SILENCE, UNKNOWN_PHONE, *sorted(used - {SILENCE, UNKNOWN_PHONE}))


def read_lexicon(path: Path) -> Lexicon:
    """Read a lexicon in CMUdict's format: `word phone phone ...`, alternatives as `word(2)`, comments after ` #`.

    A word may also stand on several lines, as in Kaldi's and MFA's lexicons. Words are spelt as those of transcripts,
    but keep their punctuation; entries of no words (`!SIL`, `<UNK>`, `[noise]`) are left out. A gzipped file is read
    too.

    Raises:
        UserError: a line has a word without phones or a probability before them, or the file is not text; names file
            and line.
    """
    pronunciations: dict[str, list[tuple[str, ...]]] = {}
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.startswith(";;;"):
                    continue
                fields = _COMMENT.sub("", line).split()
                if not fields:
                    continue
                if len(fields) == 1:
                    raise UserError(f"{path}, line {number}: the word {fields[0]!r} has no phones")
                if _DECIMAL.fullmatch(fields[1]):
                    raise UserError(f"{path}, line {number}: {fields[1]} is {_PROBABILITY}")
                if is_special(fields[0]):
                    continue
                word = upper_word(_ALTERNATIVE.sub("", fields[0]))
                variants = pronunciations.setdefault(word, [])
                if tuple(fields[1:]) not in variants:
                    variants.append(tuple(fields[1:]))
    except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path} cannot be read as a lexicon: {error}") from error
    if not pronunciations:
        raise UserError(f"{path} holds no pronunciations")
    listed = [variant for variants in pronunciations.values() for variant in variants]
    if all(variant[0] in ("0", "1") and len(variant) > 1 for variant in listed):
        raise UserError(f"{path}: the 0 or 1 behind each word is {_PROBABILITY}")
    return Lexicon({word: tuple(variants) for word, variants in pronunciations.items()})


def write_lexicon(path: Path, lexicon: Lexicon) -> None:
    """Write in the format that `read_lexicon` reads, words sorted."""
    with path.open("w", encoding="utf-8") as file:
        for word in sorted(lexicon.pronunciations):
            for number, variant in enumerate(lexicon.pronunciations[word], start=1):
                file.write(f"{word}{f'({number})' if number > 1 else ''} {' '.join(variant)}\n")


def without_stress(lexicon: Lexicon) -> Lexicon:
    """The lexicon with the vowels' stress digits taken off; variants that become equal are merged."""

    def strip(variants: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        return tuple(dict.fromkeys(tuple(phone.rstrip("012") or phone for phone in variant) for variant in variants))

    return Lexicon({word: strip(variants) for word, variants in lexicon.pronunciations.items()})


def has_stress(lexicon: Lexicon) -> bool:
    """Whether its vowels bear stress digits."""
    return any(phone[-1] in "012" for phone in lexicon.phones)


def with_positions(lexicon: Lexicon) -> Lexicon:
    """The lexicon whose phones tell their position in the word, as those of Kaldi's lexicons do.

    The first phone of a word ends in `_B`, the last in `_E`, those between in `_I`, one that is alone in `_S`. The
    phone of unknown words stays as it is.
    """

    def marked(variant: tuple[str, ...]) -> tuple[str, ...]:
        if variant == (UNKNOWN_PHONE,):
            return variant
        marks = "S" if len(variant) == 1 else "B" + "I" * (len(variant) - 2) + "E"
        return tuple(f"{phone}_{mark}" for phone, mark in zip(variant, marks, strict=True))

    return Lexicon({word: tuple(map(marked, variants)) for word, variants in lexicon.pronunciations.items()})


def select(lexicon: Lexicon, words: Iterable[str]) -> tuple[Lexicon, list[str]]:
    """The entries of `words`, and the sorted words it lacks."""
    wanted = set(words)
    found = {word: variants for word, variants in lexicon.pronunciations.items() if word in wanted}
    return Lexicon(found), sorted(wanted - found.keys())


def merge(first: Lexicon, more: Mapping[str, tuple[tuple[str, ...], ...]]) -> Lexicon:
    """`first` with the entries of `more` for words it lacks."""
    return Lexicon({**more, **first.pronunciations})
