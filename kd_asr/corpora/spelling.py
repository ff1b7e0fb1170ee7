"""How words are spelt: the one normalisation that transcripts, lexicons and language models go through.

LibriSpeech's spelling: Unicode NFC, upper case, no punctuation but the apostrophes inside words, numbers in words.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from kd_asr.corpora.languages import is_english, spell_numbers_in
from kd_asr.corpora.numbers import spell_numbers
from kd_asr.corpora.settings import SpellingSettings

UNKNOWN_WORD = "<unk>"
# Typewriter, typographic, modifier letter, full width; acute, backtick, prime and left quote where people type them for
# an apostrophe.
APOSTROPHES = "'\u2019\u02bc\uff07\u00b4`\u2032\u2018"
STANDARD = SpellingSettings()
# Events are not words: <noise>, [LAUGHTER], {breath}, !SIL, <eps>, <s>. Square brackets may hold several words.
_SPECIAL = r"<[^<>\s]+>|\[[^\[\]\n]+\]|\{[^{}\s]+\}|(?<!\S)![A-Za-z_]+(?!\S)"
# Between two words, with or without a space; other punctuation may be part of one, as in `U.S.A.` and `word(s)`.
_PARTING = frozenset(
    "/,;:!?\u2026\"@=+\\|\u2022\u00a1\u00bf\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f\u060c\u061b\u061f\u0964\u2044"
)
# A full stop without a space behind a sentence, not one of an abbreviation.
_FULL_STOP = re.compile(r"(?<=[^\W\d_]{2})\.+(?=[^\W\d_]{2})")
# The LDC's mark of a word that is said while laughing.
_LAUGHED = re.compile(r"\[laughter-([\w']+)\]", re.IGNORECASE)
# White space apart, no text holds them.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
# Single quotes that tell their beginning from an apostrophe.
_QUOTED = re.compile(r"(?<!\w)[\u2018`]+(?=\w)([^\u2018`\n]*?)(?<=[\w.,!?])[\u2019'\u00b4]+(?!\w)")


@dataclass(frozen=True)
class Spelt:
    """A text in words.

    Attributes:
        words: upper case; `<unk>` for one that nobody could write down.
        numbers: each number as written, and as it is said.
        events: what was left out as no word, such as `[LAUGHTER]`.
    """

    words: tuple[str, ...]
    numbers: tuple[tuple[str, str], ...] = ()
    events: tuple[str, ...] = ()


def spell(text: str, settings: SpellingSettings = STANDARD) -> Spelt:
    """The words of a text.

    White space, hyphens, dashes, slashes, symbols, and the punctuation that stands between words separate them; other
    punctuation is dropped (`U.S.A.` is USA), and so are invisible characters.
    `“Don't—stop at 10:30,” he said. [laughter]` gives DON'T STOP AT TEN THIRTY HE SAID.
    """
    words: list[str] = []
    numbers: list[tuple[str, str]] = []
    events: list[str] = []
    text = _LAUGHED.sub(r"\1", text)
    end = 0
    for special in [*_special(settings).finditer(text), None]:
        visible = _visible(text[end : special.start() if special else None])
        english = is_english(settings.language)
        plain, found = spell_numbers(visible) if english else spell_numbers_in(settings.language, visible)
        words += split_words(plain.upper())
        numbers += found
        if special is not None:
            end = special.end()
            if is_unknown(special[0], settings):
                words.append(UNKNOWN_WORD)
            else:
                events.append(special[0])
    return Spelt(tuple(words), tuple(numbers), tuple(events))


def split_words(text: str) -> list[str]:
    """The words of a text, in the case it is in, without punctuation; numbers stay as they are.

    An apostrophe at the beginning or at the end of a word stays (`'TIS`, `DOGS'`), unless quotes are meant: at both
    ends, or typographic ones or backticks before and after.
    """
    kept = []
    for character in unicodedata.normalize("NFC", _FULL_STOP.sub(" ", _QUOTED.sub(r" \1 ", text))):
        category = unicodedata.category(character)
        if character in APOSTROPHES:
            kept.append("'")
        elif category[0] in "LNM":
            kept.append(character)
        elif character == "&":
            kept.append(" and " if text.islower() else " AND ")
        elif character in _PARTING or category in ("Pd", "Pc", "Cc", "Sm", "So") or category[0] == "Z":
            kept.append(" ")
    # Composed again: an accent may have stood behind what was dropped.
    plain = unicodedata.normalize("NFC", "".join(kept)).split()
    words = (word.strip("'") if word[0] == word[-1] == "'" else word for word in plain)
    return [word for word in words if word.strip("'")]


def normalise_words(text: str, settings: SpellingSettings = STANDARD) -> tuple[str, ...]:
    """The words of `spell`."""
    return spell(text, settings).words


def is_text(line: str) -> bool:
    """Whether a line has no control characters, which belong to other files than those of text."""
    return _CONTROL.search(line) is None


@lru_cache(maxsize=16)
def _special(settings: SpellingSettings) -> re.Pattern[str]:
    """Tokens that are no words, of which those in brackets need no white space around them."""
    tokens = sorted(settings.left_out, key=len, reverse=True)
    return re.compile("|".join([rf"(?<!\S){re.escape(token)}(?!\S)" for token in tokens] + [_SPECIAL]), re.IGNORECASE)


def is_special(word: str, settings: SpellingSettings = STANDARD) -> bool:
    """Whether a word is none: `<unk>`, `<s>`, `!SIL`, `<noise>`, `[LAUGHTER]`."""
    return _special(settings).fullmatch(word) is not None


def is_unknown(word: str, settings: SpellingSettings = STANDARD) -> bool:
    """Whether a word stands for one that is not known: `<unk>`, `[UNK]`, `<SPOKEN_NOISE>`."""
    name = word.strip("<>[]{}!").lower()
    return name != word.lower() and is_special(word, settings) and name in map(str.lower, settings.unknown)


def upper_word(word: str) -> str:
    """One word in the case, the composed characters and the apostrophes of all words; punctuation stays."""
    if word.isascii():
        return word.upper().replace("`", "'")
    folded = unicodedata.normalize("NFC", _visible(word).upper())
    return "".join("'" if character in APOSTROPHES else character for character in folded)


def listed_word(word: str, settings: SpellingSettings = STANDARD) -> str | None:
    """A word of a language model as transcripts have it; None for one that no transcript can hold.

    Numerals (transcripts have them in words), words of several (`well-known`), and events are of that kind.
    """
    if not settings.left_out and word.isascii() and word.isalpha():
        return word.upper()
    if is_unknown(word, settings):
        return UNKNOWN_WORD
    if is_special(word, settings) or any(character.isnumeric() for character in word):
        return None
    words = split_words(upper_word(word))
    return words[0] if len(words) == 1 else None


def _visible(text: str) -> str:
    """A text without soft hyphens, joiners, marks of direction and byte order marks: they part no words."""
    return "".join(character for character in text if unicodedata.category(character) != "Cf")
