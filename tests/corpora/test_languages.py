# ruff: noqa: RUF001 - IPA letters are meant
"""Other languages than English: numbers, pronunciations, and the embedded corpus."""

from pathlib import Path

import pytest

from kd_asr.alignment.g2p import guess_pronunciations
from kd_asr.corpora.languages import NumberSentences, check_language, is_english, num2words_name
from kd_asr.corpora.settings import SpellingSettings
from kd_asr.corpora.spelling import normalise_words, spell
from kd_asr.corpora.synthetic import SUBSETS, EmbeddedSize, is_complete, synthesize
from kd_asr.errors import UserError


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("de", "1.200 Gäste, um 3,5 Grad.", "EINTAUSENDZWEIHUNDERT GÄSTE UM DREI KOMMA FÜNF GRAD"),
        ("fr-fr", "J'ai 80 francs", "J'AI QUATRE VINGTS FRANCS"),
        ("pt-br", "são 16", "SÃO DEZESSEIS"),
        ("pl", "mam 2 koty i 123456789012345", "MAM DWA KOTY I 123456789012345"),
        ("cmn", "3", "3"),
    ],
)  # fmt: skip
def test_numbers_are_written_out(language: str, text: str, words: str) -> None:
    assert " ".join(normalise_words(text, SpellingSettings(language=language))) == words


def test_what_was_written_is_told() -> None:
    assert spell("um 10", SpellingSettings(language="de")).numbers == (("10", "zehn"),)


def test_pronunciations_are_espeaks_in_ipa() -> None:
    """By hand, from the sounds of German and French words."""
    found = guess_pronunciations(["SCHÖN", "ZEHN", "'"], {}, "de")
    assert [one.variants for one in found[:2]] == [(("ʃ", "øː", "n"),), (("ts", "eː", "n"),)]
    [bonjour] = guess_pronunciations(["BONJOUR"], {}, "fr")
    assert "".join(bonjour.variants[0]).replace("ː", "") == "bɔ̃ʒuʁ"


def test_names_of_languages() -> None:
    assert is_english("en-gb") and not is_english("de")
    assert [num2words_name(one) for one in ("pt-br", "fr-fr", "cmn", "de")] == ["pt_BR", "fr", "", "de"]
    with pytest.raises(UserError, match=r"there is no voice 'xx'; `espeak-ng --voices` lists them"):
        check_language("xx")
    with pytest.raises(UserError, match="num2words does not write its numbers"):
        NumberSentences("1", "cmn")


def test_the_embedded_corpus_speaks_numbers(tmp_path: Path) -> None:
    size = EmbeddedSize(1, 1, 1, 0.05, 0.02, 0.02)
    synthesize(tmp_path / "c", seed=1, size=size, jobs=1, language="it")
    assert is_complete(tmp_path / "c", seed=1, size=size, language="it")
    assert not is_complete(tmp_path / "c", seed=1, size=size)
    for subset in SUBSETS:
        texts = [path.read_text() for path in (tmp_path / "c" / subset).rglob("*.trans.txt")]
        assert "".join(texts).split()[1].isalpha()
        assert not (tmp_path / "c" / subset / "phones.tsv").exists()
    source = NumberSentences("s", "it")
    assert source.sentence() == NumberSentences("s", "it").sentence()
