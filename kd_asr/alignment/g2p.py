# ruff: noqa: RUF001, RUF002, RUF003 - IPA letters are meant
"""Pronunciations of words that the dictionary lacks: from a relative that it has, or else espeak-ng's.

`DOG'S` is made of DOG where the dictionary has it. All else is said by espeak-ng's American voice, whose IPA is mapped
to the ARPAbet: phonemes first, one by one, then the places where the two transcribe the same sounds by other habits.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kd_asr.alignment.topology import UNKNOWN_PHONE
from kd_asr.corpora.espeak import espeak_phonemes
from kd_asr.corpora.languages import ENGLISH, is_english

Pronunciation = tuple[str, ...]

CONSONANTS = {
    "b": "B", "d": "D", "dʒ": "JH", "ð": "DH", "f": "F", "h": "HH", "j": "Y", "k": "K", "l": "L", "m": "M", "n": "N",
    "p": "P", "r": "R", "s": "S", "t": "T", "tʃ": "CH", "v": "V", "w": "W", "x": "K", "z": "Z", "ŋ": "NG", "ɡ": "G",
    "ɬ": "L", "ɲ": "N", "ɹ": "R", "ɾ": "T", "ʁ": "R", "ʃ": "SH", "ʒ": "ZH", "ʔ": "T", "θ": "TH", "ç": "SH",
}  # fmt: skip
VOWELS = {
    "a": "AA", "aɪ": "AY", "aʊ": "AW", "aː": "AA", "e": "EY", "eɪ": "EY", "i": "IY", "iː": "IY", "o": "OW", "oʊ": "OW",
    "oː": "OW", "u": "UW", "uː": "UW", "y": "UW", "æ": "AE", "ɐ": "AH", "ɑː": "AA", "ɑ̃": "AA", "ɑ": "AA", "ɒ": "AA",
    "ɔ": "AO", "ɔɪ": "OY", "ɔː": "AO", "ɔ̃": "AO", "ə": "AH", "ɚ": "ER", "ɛ": "EH", "ɛː": "EH", "ɜː": "ER", "ɜ": "ER",
    "ɪ": "IH", "ʊ": "UH", "ʌ": "AH", "ᵻ": "IH",
}  # fmt: skip
# Phonemes of espeak-ng that are two of CMUdict's.
GROUPS = {
    "aɪə": ("aɪ", "ə"), "aɪɚ": ("aɪ", "ɚ"), "aʊɚ": ("aʊ", "ɚ"), "iə": ("i", "ə"), "n̩": ("ə", "n"), "m̩": ("ə", "m"),
    "l̩": ("ə", "l"), "əl": ("ə", "l"), "ɑːɹ": ("ɑː", "ɹ"), "ɔːɹ": ("ɔː", "ɹ"), "oːɹ": ("ɔː", "ɹ"), "ɛɹ": ("ɛ", "ɹ"),
    "ɪɹ": ("ɪ", "ɹ"), "ʊɹ": ("ʊ", "ɹ"), "ɡʲ": ("ɡ",), "tʲ": ("t",), "nʲ": ("n",), "ts": ("t", "s"),
}  # fmt: skip
ARPABET = frozenset(CONSONANTS.values()) | frozenset(VOWELS.values())
_STRESS = {"ˈ": "1", "ˌ": "2"}
_REDUCED = frozenset(("AH", "IH", "ER", "IY"))
# Vowels that are seldom without stress in CMUdict after the primary one.
_FULL = frozenset(("AA", "AE", "AO", "AW", "AY", "EH", "EY", "OY"))
_VOICELESS = frozenset(("P", "T", "K", "F", "TH"))
_SIBILANTS = frozenset(("S", "Z", "SH", "ZH", "CH", "JH"))
_ROMAN = re.compile(r"(?=[IVXLC]{2})(XC|XL|L?X{0,3}|C{1,3}X{0,3})(IX|IV|V?I{0,3})$")
_ROMAN_SAID = ("r", "oʊ", "m", "ə", "n")


@dataclass(frozen=True)
class Guess:
    """The pronunciation of a word that the dictionary lacks.

    Attributes:
        word: upper case.
        variants: its pronunciations in CMUdict phones with stress, never empty.
        ipa: the phonemes of espeak-ng that it comes from, empty if there is a `base`.
        base: the word of the dictionary that it comes from, empty if there is none.
    """

    word: str
    variants: tuple[Pronunciation, ...]
    ipa: tuple[str, ...]
    base: str


def guess_pronunciations(
    words: Sequence[str],
    known: Mapping[str, tuple[Pronunciation, ...]] | None = None,
    language: str = ENGLISH,
) -> list[Guess]:
    """Pronunciations of `words`, in their order.

    Args:
        words: upper case.
        known: the dictionary, for possessives of its words; none: all words are espeak-ng's.
        language: in others than English, the phones are espeak-ng's, in IPA without stress.

    Raises:
        UserError: espeak-ng cannot be run.
    """
    if not is_english(language):
        said = espeak_phonemes([_spelling(word) for word in words], language)
        return [
            Guess(word, (tuple(filter(None, map(_unstressed, ipa))) or (UNKNOWN_PHONE,),), tuple(ipa), "")
            for word, ipa in zip(words, said, strict=True)
        ]
    made = {word: found for word in words if (found := _possessive(word, known or {})) is not None}
    asked = [word for word in words if word not in made]
    for word, phonemes in zip(asked, espeak_phonemes([_spelling(word) for word in asked]), strict=True):
        # Of a letter that no English word has, espeak-ng says what it is called ("Chinese letter").
        ipa = tuple(_without_roman(word, phonemes)) if _in_latin(word) else ()
        made[word] = Guess(word, (arpabet(ipa) or (UNKNOWN_PHONE,),), ipa, "")
    return [made[word] for word in words]


def spelt_with(guess: Guess, phones: Collection[str]) -> Guess:
    """The guess in another set of phones, that of a user's dictionary: with other stress digits, or none.

    A phone that the set has in no form makes the word one that cannot be pronounced.
    """

    def nearest(phone: str) -> str:
        plain = phone.rstrip("012")
        return next((form for form in (phone, plain, f"{plain}1", f"{plain}0", f"{plain}2") if form in phones), "")

    found = tuple(dict.fromkeys(tuple(map(nearest, variant)) for variant in guess.variants))
    possible = tuple(variant for variant in found if "" not in variant)
    return replace(guess, variants=possible or ((UNKNOWN_PHONE,),))


def _unstressed(phoneme: str) -> str:
    """An IPA phoneme without marks of stress and of joined or silent sounds."""
    return "".join(one for one in phoneme if one not in "ˈˌ\u200d-" and not one.isspace())


def _possessive(word: str, known: Mapping[str, tuple[Pronunciation, ...]]) -> Guess | None:
    """`X'S` and `X'` from X: /s/ after voiceless sounds, /ɪz/ after sibilants, /z/ otherwise."""
    if word.endswith("'S") and word[:-2] in known:
        base = word[:-2]
        return Guess(word, tuple(phones + _plural_ending(phones[-1]) for phones in known[base]), (), base)
    if word.endswith("S'") and word[:-1] in known:
        return Guess(word, known[word[:-1]], (), word[:-1])
    return None


def _plural_ending(last: str) -> Pronunciation:
    if last in _SIBILANTS:
        return ("IH0", "Z")
    return ("S",) if last in _VOICELESS else ("Z",)


def _spelling(word: str) -> str:
    """What espeak-ng is given: without apostrophes at the ends, at which it would spell short words out."""
    return word.strip("'") or word


def _in_latin(word: str) -> bool:
    """Whether all letters of a word are Latin ones."""
    letters = unicodedata.normalize("NFC", word).replace("'", "")
    return all("LATIN" in unicodedata.name(letter, "") for letter in letters)


def _without_roman(word: str, phonemes: Sequence[str]) -> Sequence[str]:
    """espeak-ng says "Roman seventeen" for XVII; readers say "seventeen"."""
    said = tuple(phoneme.lstrip("ˈˌ").replace("ɹ", "r") for phoneme in phonemes[:5])
    return phonemes[5:] if _ROMAN.match(word) and said == _ROMAN_SAID else phonemes


def arpabet(phonemes: Sequence[str]) -> Pronunciation:
    """CMUdict phones, vowels with their stress digit, of espeak-ng's IPA phonemes.

    Phonemes of other languages, which espeak-ng uses for a few names, are mapped character by character; what no phone
    is near to is left out.
    """
    return tuple(_secondary_stress(_with_primary_stress(_habits(list(_mapped(phonemes))))))


def _mapped(phonemes: Sequence[str]) -> Iterator[str]:
    """One by one."""
    for marked in phonemes:
        stress = _STRESS.get(marked[:1], "0")
        plain = marked.lstrip("ˈˌ")
        for part in GROUPS.get(plain) or ((plain,) if plain in VOWELS or plain in CONSONANTS else tuple(plain)):
            if part in VOWELS:
                yield VOWELS[part] + stress
                stress = "0"
            elif part in CONSONANTS:
                yield CONSONANTS[part]


def _is_vowel(phone: str) -> bool:
    return phone[-1].isdigit()


def _habits(phones: list[str]) -> list[str]:
    """Where CMUdict writes the same sounds in another way."""
    found: list[str] = []
    for position, phone in enumerate(phones):
        following = phones[position + 1] if position + 1 < len(phones) else ""
        before = found[-1] if found else ""
        if phone == "R" and before == "R":
            continue  # ɑːɹ ɹ: one R between vowels
        if phone == "R" and before[:2] == "ER" and following and _is_vowel(following):
            continue  # ɚ ɹ ə: the R is in the ER
        if phone == "IH0" and following and _is_vowel(following):
            found.append("IY0")  # ɪ oʊ
            continue
        found.append(phone)
    return found


def _with_primary_stress(phones: list[str]) -> list[str]:
    """A word that espeak-ng leaves without stress, as it does in `she'll`, gets it on its first full vowel."""
    vowels = [position for position, phone in enumerate(phones) if _is_vowel(phone)]
    if not vowels or any(phones[position][-1] == "1" for position in vowels):
        return phones
    chosen = next((position for position in vowels if phones[position][:-1] not in _REDUCED), vowels[0])
    return [phone[:-1] + "1" if position == chosen else phone for position, phone in enumerate(phones)]


def _secondary_stress(phones: list[str]) -> list[str]:
    """Stress 0 or 2 where the two differ by habit: the choice that CMUdict makes more often.

    espeak-ng leaves most full vowels after the primary stress unmarked (`boardwalk`) where CMUdict gives them secondary
    stress, and does so with the first vowel of `in-` and `im-` before it; it marks some short i that CMUdict does not.
    """
    primary = next((position for position, phone in enumerate(phones) if phone[-1] == "1"), len(phones))
    found = list(phones)
    for position, phone in enumerate(phones):
        if position > primary and phone[-1] == "0" and phone[:-1] in _FULL:
            found[position] = phone[:-1] + "2"
        elif position > primary and phone == "IH2":
            found[position] = "IH0"
    if primary > 1 and phones[:2] in (["IH0", "N"], ["IH0", "M"]):
        found[0] = "IH2"
    return found
