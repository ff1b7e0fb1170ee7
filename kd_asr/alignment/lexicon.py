"""Pronunciations: words and the phones they are made of, and how probable each variant is."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from kd_asr.alignment.topology import SILENCE, UNKNOWN_PHONE
from kd_asr.corpora.settings import SpellingSettings
from kd_asr.corpora.spelling import STANDARD, is_special, is_text, upper_word
from kd_asr.errors import UserError

Variants = tuple[tuple[str, ...], ...]
_ALTERNATIVE = re.compile(r"\(\d+\)$")
_COMMENT = re.compile(r"(^|\s)#.*")
# Python's own reader also takes 1_0, nan and digits of other scripts.
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_BEGINS_NUMBER = frozenset("0123456789.-+[")
# Numbers as other programs write them, and what Julius prints for a word; no phone is called so.
_NO_PHONE = re.compile(r"[-+]?\d*[.,]\d+%?|\d+%|[-+]\d+|\[.*\]", re.ASCII)
# Of the word, and with those of silence around it, as in MFA's dictionaries and Kaldi's lexiconp_silprob.txt.
_COLUMNS = (1, 4)


@dataclass(frozen=True)
class Lexicon:
    """Pronunciations by word.

    Attributes:
        pronunciations: Upper-case word to its variants, each a tuple of phones, the first listed first.
        costs: For words whose variants differ in probability, -log p of each variant, 0 for the most probable one.
    """

    pronunciations: dict[str, Variants]
    costs: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def variants(self, word: str) -> Variants:
        """Pronunciations of a word; one the lexicon lacks is the phone of unknown words."""
        return self.pronunciations.get(word, ((UNKNOWN_PHONE,),))

    def variant_costs(self, word: str) -> tuple[float, ...]:
        """Cost of each of its variants beside the most probable one; 0 for all where nothing is known."""
        return self.costs.get(word) or (0.0,) * len(self.variants(word))

    @property
    def phones(self) -> tuple[str, ...]:
        """Silence, the phone of unknown words, then all others sorted."""
        used = {phone for variants in self.pronunciations.values() for variant in variants for phone in variant}
        return (SILENCE, UNKNOWN_PHONE, *sorted(used - {SILENCE, UNKNOWN_PHONE}))


def read_lexicon(path: Path, settings: SpellingSettings = STANDARD) -> Lexicon:
    """Read a lexicon: `word phone phone ...`, alternatives as `word(2)` or on lines of their own, comments after ` #`.

    Between word and phones may stand its probability, as in Kaldi's lexiconp.txt, or four, as in MFA's dictionaries
    with silence probabilities and Kaldi's lexiconp_silprob.txt, of which the first is used: on every line or on none.
    Words are spelt as those of transcripts, but keep their punctuation; entries of no words (`!SIL`, `<UNK>`,
    `[noise]`) are left out. A gzipped file is read too.

    Raises:
        UserError: a line has a word without phones or a probability that is none, or the file is not text; names file
            and line.
    """
    lines = list(_lines(path))
    if not lines:
        raise UserError(f"{path} holds no pronunciations")
    columns = _probability_columns(path, lines)
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for number, fields in lines:
        word = fields[0]
        if is_special(word, settings):
            continue
        probability = float(fields[1]) if columns else 1.0
        if not 0 < probability <= 1:
            raise UserError(f"{path}, line {number}: {fields[1]} is no probability above 0 and up to 1")
        variants = found.setdefault(upper_word(_ALTERNATIVE.sub("", word) if word[-1] == ")" else word), {})
        phones = tuple(fields[1 + columns :])
        variants[phones] = max(probability, variants.get(phones, 0.0))
    if not found:
        raise UserError(f"{path} holds no pronunciations")
    if not columns:
        return Lexicon({word: tuple(variants) for word, variants in found.items()})
    return _with_costs({word: list(variants.items()) for word, variants in found.items()})


def _lines(path: Path) -> Iterable[tuple[int, list[str]]]:
    """Number and fields, two at least, of the lines of a lexicon."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                said = _COMMENT.sub("", line) if "#" in line else line
                fields = [] if line.startswith(";;;") else said.split()
                if len(fields) == 1:
                    raise UserError(f"{path}, line {number}: the word {fields[0]!r} has no phones")
                if not is_text(line):
                    raise UserError(f"{path}, line {number}: control characters: not a text file, or a damaged one")
                if fields:
                    yield number, fields
    except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path} cannot be read as a lexicon: {error}") from error


def _probability_columns(path: Path, lines: Sequence[tuple[int, list[str]]]) -> int:
    """Columns of probabilities between word and phones: 0, 1 or 4.

    Raises:
        UserError: some lines have them and others do not.
    """
    if not any(fields[1][0] in _BEGINS_NUMBER for _, fields in lines):
        return 0
    # The last field is a phone, be it called 1.
    counts = [sum(1 for _ in takewhile(_NUMBER.fullmatch, fields[1:-1])) for _, fields in lines]
    least = min(counts)
    columns = next((width for width in reversed(_COLUMNS) if width <= least), 0)
    # Phones may be whole numbers: then some are above 1, and some stand in other places too.
    if columns and all(fields[1].isdigit() for _, fields in lines) and any(int(fields[1]) > 1 for _, fields in lines):
        first = {fields[1] for _, fields in lines}
        if any(not first.isdisjoint(fields[2:]) for _, fields in lines):
            return 0
    for number, fields in lines:
        if _NO_PHONE.fullmatch(fields[1]) and not _NUMBER.fullmatch(fields[1]):
            raise UserError(
                f"{path}, line {number}: {fields[1]} is no phone: behind a word stand its phones, or a probability "
                "such as 0.5 and its phones"
            )
        wrong = next((one for one in fields[1 + columns :] if _NUMBER.fullmatch(one) and not one.isdigit()), None)
        if wrong is not None:
            where = lines[counts.index(least)][0]
            raise UserError(
                f"{path}, line {number}: {wrong} is a probability, but line {where} has {columns or 'none'}: give each "
                "line one, or none (or four, as MFA does)"
            )
    return columns


def _with_costs(weighted: Mapping[str, Sequence[tuple[tuple[str, ...], float]]]) -> Lexicon:
    """The lexicon of (phones, probability) variants."""
    costs = {}
    for word, variants in weighted.items():
        if len(variants) == 1:
            continue
        most = max(probability for _, probability in variants)
        of_word = tuple(math.log(most) - math.log(probability) for _, probability in variants)
        if any(of_word):
            costs[word] = of_word
    return Lexicon({word: tuple(phones for phones, _ in variants) for word, variants in weighted.items()}, costs)


def write_lexicon(path: Path, lexicon: Lexicon) -> None:
    """Write in the format that `read_lexicon` reads, words sorted; with probabilities if any word has costs."""
    with path.open("w", encoding="utf-8") as file:
        for word in sorted(lexicon.pronunciations):
            pairs = zip(lexicon.pronunciations[word], lexicon.variant_costs(word), strict=True)
            for number, (variant, cost) in enumerate(pairs, start=1):
                probability = f"{math.exp(-cost)!r} " if lexicon.costs else ""
                file.write(f"{word}{f'({number})' if number > 1 else ''} {probability}{' '.join(variant)}\n")


def without_stress(lexicon: Lexicon) -> Lexicon:
    """The lexicon with the vowels' stress digits taken off; variants that become equal are merged."""
    merged: dict[str, list[tuple[tuple[str, ...], float]]] = {}
    for word, variants in lexicon.pronunciations.items():
        found: dict[tuple[str, ...], float] = {}
        for variant, cost in zip(variants, lexicon.variant_costs(word), strict=True):
            plain = tuple(phone.rstrip("012") or phone for phone in variant)
            found[plain] = max(math.exp(-cost), found.get(plain, 0.0))
        merged[word] = list(found.items())
    return _with_costs(merged)


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

    placed = {word: tuple(map(marked, variants)) for word, variants in lexicon.pronunciations.items()}
    return Lexicon(placed, lexicon.costs)


def select(lexicon: Lexicon, words: Iterable[str]) -> tuple[Lexicon, list[str]]:
    """The entries of `words`, and the sorted words it lacks."""
    wanted = set(words)
    found = {word: variants for word, variants in lexicon.pronunciations.items() if word in wanted}
    costs = {word: costs for word, costs in lexicon.costs.items() if word in found}
    return Lexicon(found, costs), sorted(wanted - found.keys())


def merge(first: Lexicon, more: Mapping[str, Variants]) -> Lexicon:
    """`first` with the entries of `more` for words it lacks."""
    return Lexicon({**more, **first.pronunciations}, first.costs)
