"""Languages by the names of espeak-ng's voices, such as `en-us`, `de` and `pt-br`: which is English, and how the others
write numbers out."""

from __future__ import annotations

import random
import re
from decimal import Decimal
from functools import lru_cache

from num2words import CONVERTER_CLASSES, num2words

from kd_asr.corpora.espeak import espeak_phonemes
from kd_asr.errors import UserError

ENGLISH = "en-us"
# Whole numbers with or without marks of thousands, and what follows a decimal point or comma.
_NUMBER = re.compile(r"(?<![\w.,])(\d{1,3}(?:[.,]\d{3})+|\d+)(?:[.,](\d+))?(?![\w]|[.,]\d)", re.ASCII)
_LONGEST = 12


def is_english(language: str) -> bool:
    """Whether pronunciations are CMUdict's, and numbers are written out with all that English has."""
    return language.split("-", maxsplit=1)[0] == "en"


def check_language(language: str) -> None:
    """Refuse a language that espeak-ng does not speak.

    Raises:
        UserError: names it.
    """
    if not is_english(language):
        try:
            espeak_phonemes(["a"], language)
        except UserError as error:
            raise UserError(
                f"spelling.language: {error}; `espeak-ng --voices` lists them, such as de, fr, pl, pt-br"
            ) from error


@lru_cache(maxsize=64)
def num2words_name(language: str) -> str:
    """What num2words calls a language; empty: it cannot write its numbers."""
    known = {name.casefold(): name for name in CONVERTER_CLASSES}
    whole = language.replace("-", "_").casefold()
    return known.get(whole) or known.get(whole.split("_")[0]) or ""


def spell_numbers_in(language: str, text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A text with its numbers in words of a language other than English, and (as written, as said) of each of them.

    A point or comma before groups of three digits marks thousands, before other ones the decimals. Numbers that
    num2words cannot write, and longer ones, stay, and are words that espeak-ng pronounces.

    >>> spell_numbers_in("de", "um 3,5 Grad")
    ('um  drei Komma fünf  Grad', (('3,5', 'drei Komma fünf'),))
    """
    name = num2words_name(language)
    found: list[tuple[str, str]] = []
    if not name:
        return text, ()

    def said(match: re.Match[str]) -> str:
        whole, places = re.sub(r"[.,]", "", match[1]), match[2]
        if len(whole) > _LONGEST:
            return match[0]
        words = _in_words(name, f"{whole}.{places}" if places else whole)
        found.append((match[0], words))
        return f" {words} "

    return _NUMBER.sub(said, text), tuple(found)


@lru_cache(maxsize=65536)
def _in_words(name: str, value: str) -> str:
    return " ".join(num2words(Decimal(value) if "." in value else int(value), lang=name).split())


class NumberSentences:
    """Sentences of the embedded corpus in any language that both espeak-ng and num2words know: three to six numbers in
    words, the same for the same seed. They are dealt like cards, so that a short text has nearly all of them."""

    def __init__(self, seed: str, language: str) -> None:
        """Begin with the first sentence.

        Raises:
            UserError: num2words does not know the language.
        """
        self._name = num2words_name(language)
        if not self._name:
            raise UserError(f"the embedded corpus cannot be made in {language}: num2words does not write its numbers")
        self._random, self._deck = random.Random(seed), list[int]()

    def sentence(self) -> str:
        """One sentence in small letters."""
        count = 3 + self._deal() % 4
        return ", ".join(_in_words(self._name, str(self._deal())).lower() for _ in range(count))

    def _deal(self) -> int:
        if not self._deck:
            # Few numbers above a hundred: in some languages each is a word of its own.
            self._deck = [*range(100), *range(100, 1000, 100)]
            self._random.shuffle(self._deck)
        return self._deck.pop()
