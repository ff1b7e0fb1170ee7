"""The spelling that transcripts, lexicons and language models share."""

from __future__ import annotations

import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from num2words import num2words

from kd_asr.alignment.lexicon import read_lexicon
from kd_asr.corpora.settings import SpellingSettings
from kd_asr.corpora.spelling import UNKNOWN_WORD, listed_word, normalise_words, spell, upper_word


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HELLO WORLD", "HELLO WORLD"),
        ("\u201cDon\u2019t\u2014stop,\u201d he said.", "DON'T STOP HE SAID"),
        ("well-known  e.g.\tcaf\u00e9 and/or", "WELL KNOWN EG CAF\u00c9 AND OR"),
        ("cafe\u0301", "CAF\u00c9"),  # NFC: letter and accent become one character
        ("' '' \u2019 ?!... -- $%", ""),
        ("'tis the dogs' 42", "'TIS THE DOGS' FORTY TWO"),
        ("stra\u00dfe", "STRASSE"),
        ("don`t don\u00b4t don\u2019t don\u02bct don\u2032t", "DON'T DON'T DON'T DON'T DON'T"),
        ("\u2018Hello, world\u2019 'hello' ``hello''", "HELLO WORLD HELLO HELLO"),
        ("hello,world yes;no what?!well wait\u2026no", "HELLO WORLD YES NO WHAT WELL WAIT NO"),
        ("he said\"so\" a+b", "HE SAID SO A B"),
        ("the end.Next day U.S.A. Ph.D. word(s) one\U0001f642two", "THE END NEXT DAY USA PHD WORDS ONE TWO"),
        ("soft\u00adhyphen zero\u200bwidth \ufeffmark", "SOFTHYPHEN ZEROWIDTH MARK"),
        ("salt & pepper, R&D", "SALT AND PEPPER R AND D"),
        ("nul\x00bell\x07", "NUL BELL"),
        ("\u6f22\u5b57", "\u6f22\u5b57"),
    ],
)
def test_words_are_spelt_as_in_librispeech(text: str, words: str) -> None:
    assert normalise_words(text) == tuple(words.split())


@pytest.mark.parametrize(
    ("text", "words", "events"),
    [
        ("<unk> [UNK] <SPOKEN_NOISE> <oov> !UNK", "<unk> <unk> <unk> <unk> <unk>", ""),
        ("so !SIL <noise> we [LAUGHTER] go {breath} <s>", "SO WE GO", "!SIL <noise> [LAUGHTER] {breath} <s>"),
        ("a [laughter-yes] b", "A YES B", ""),
        ("a < b > c, wow!", "A B C WOW", ""),
    ],
)
def test_events_are_no_words_and_unknown_words_are_one(text: str, words: str, events: str) -> None:
    spelt = spell(text)
    assert (" ".join(spelt.words), " ".join(spelt.events)) == (words, events)


def test_an_event_of_several_words_is_left_out_whole() -> None:
    assert spell("oh [door slams] no").words == ("OH", "NO")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("10:30", "TEN THIRTY"),
        ("10:05 pm", "TEN OH FIVE PM"),
        ("10:00", "TEN O'CLOCK"),
        ("10:00 a.m.", "TEN AM"),
        ("5.50", "FIVE POINT FIVE ZERO"),
        ("3.14", "THREE POINT ONE FOUR"),
        (".5", "POINT FIVE"),
        ("$5.50", "FIVE DOLLARS FIFTY CENTS"),
        ("$1", "ONE DOLLAR"),
        ("$2bn", "TWO BILLION DOLLARS"),
        ("$1.5m", "ONE POINT FIVE MILLION DOLLARS"),
        ("50\u00a2", "FIFTY CENTS"),
        ("\u20b91", "ONE RUPEE"),
        ("5' 10\"", "FIVE TEN"),
        ("5's", "FIVE'S"),
        ("10.30 a.m.", "TEN THIRTY AM"),
        ("10.30", "TEN POINT THREE ZERO"),
        ("$0.01", "ONE PENNY".replace("PENNY", "CENT")),
        ("\u00a31,000", "ONE THOUSAND POUNDS"),
        ("5\u20ac", "FIVE EUROS"),
        ("$2.5 billion", "TWO POINT FIVE BILLION DOLLARS"),
        ("1st 22nd 103rd", "FIRST TWENTY SECOND ONE HUNDRED AND THIRD"),
        ("1995", "NINETEEN NINETY FIVE"),
        ("1900 2020", "NINETEEN HUNDRED TWENTY TWENTY"),
        ("the 1990s", "THE NINETEEN NINETIES"),
        ("'80s", "EIGHTIES"),
        ("1,234", "ONE THOUSAND TWO HUNDRED AND THIRTY FOUR"),
        ("1,995", "ONE THOUSAND NINE HUNDRED AND NINETY FIVE"),
        ("50% -5", "FIFTY PERCENT MINUS FIVE"),
        ("3/4 \u00bd", "THREE QUARTERS ONE HALF"),
        ("007", "ZERO ZERO SEVEN"),
        ("10-20", "TEN TWENTY"),
        ("R2D2", "R TWO D TWO"),
        ("\u0663", "THREE"),
        ("1,23", "ONE TWENTY THREE"),
        ("9" * 30, " ".join(["NINE"] * 30)),
    ],
)
def test_numbers_are_said_in_words(written: str, said: str) -> None:
    spelt = spell(written)
    assert " ".join(spelt.words) == said
    assert spelt.numbers


def test_numbers_are_listed_as_they_were_written() -> None:
    assert spell("at 10:30 for $5").numbers == (("10:30", "ten thirty"), ("$5", "five dollars"))


@given(st.one_of(st.text(max_size=60), st.text("0123456789.,:/$%'-+ smstndh[]<>", max_size=30)))
def test_whatever_is_written_gives_words_without_spaces_and_digits(text: str) -> None:
    words = normalise_words(text)
    assert all(word and word.split() == [word] for word in words)
    assert not any(character.isascii() and character.isdigit() for word in words for character in word)
    assert normalise_words(" ".join(words)) == words


def test_one_word_keeps_its_punctuation_in_a_lexicon_and_not_in_a_language_model() -> None:
    assert upper_word("don\u2019t") == "DON'T"
    assert upper_word("cafe\u0301") == "CAF\u00c9"
    assert upper_word("c.o.d.") == "C.O.D."
    words = {"mr.": "MR", "<UNK>": "<unk>", "[UNK]": "<unk>", "don`t": "DON'T", "caf\u00e9": "CAF\u00c9"}
    assert {word: listed_word(word) for word in words} == words
    for word in ("well-known", "FOO(2)", "2", "<eps>", "#0", "!SIL", "[LAUGHTER]", ",", "\u00bd"):
        assert listed_word(word) is None


def test_tokens_of_the_settings_are_no_words_of_lexicons_and_language_models(tmp_path) -> None:
    settings = SpellingSettings(unknown=("garbage",), left_out=("%hesitation", "xxx"))
    assert [listed_word(word, settings) for word in ("xxx", "%Hesitation", "[garbage]", "<unk>", "word")] == [
        *(None, None, UNKNOWN_WORD, None, "WORD")
    ]
    (tmp_path / "lexicon.txt").write_text("xxx SPN\nword W ER1 D\n[garbage] SPN\n%hesitation AH0\n")
    assert set(read_lexicon(tmp_path / "lexicon.txt", settings).pronunciations) == {"WORD"}
    assert {"XXX", "%HESITATION"} < set(read_lexicon(tmp_path / "lexicon.txt").pronunciations)


@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_said_as_num2words_says_them(seed: int) -> None:
    """Written as people write them, against the library's own reading of the value."""
    rng = np.random.default_rng(seed)

    def by_library(value: object, **options: str) -> tuple[str, ...]:
        return tuple(re.sub("[-,]", " ", num2words(value, **options)).upper().split())

    for number in map(int, [*rng.integers(0, 1100, 20), *rng.integers(2100, 10**9, 20)]):
        assert normalise_words(f"{number:,}") == by_library(number)
        assert normalise_words(num2words(number, to="ordinal_num")) == by_library(number, to="ordinal")
    for year in map(int, rng.integers(1100, 2100, 20)):
        assert normalise_words(str(year)) == by_library(year, to="year")
    for whole, places in zip(map(int, rng.integers(0, 5000, 20)), map(int, rng.integers(1, 1000, 20)), strict=True):
        assert normalise_words(f"{whole}.{str(places).rstrip('0')}") == by_library(f"{whole}.{str(places).rstrip('0')}")
        dollars = by_library(f"{whole}.{places % 99 + 1:02d}", to="currency", currency="USD", separator=" ")
        expected = dollars if whole else dollars[2:]
        assert normalise_words(f"${whole}.{places % 99 + 1:02d}") == expected
