from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_prepared

from kd_asr.alignment.lexicon import read_lexicon, with_positions
from kd_asr.alignment.settings import LexiconSettings
from kd_asr.decoding.settings import LanguageModelSettings
from kd_asr.errors import UserError
from kd_asr.stages.lexicon import dictionary_file, lexicon
from kd_asr.stages.settings import Settings

ARPA = "\\data\\\nngram 1=5\nngram 2=1\n\n\\1-grams:\n{unigrams}\n\\2-grams:\n-0.1 <s> ONE\n\n\\end\\\n"


@pytest.fixture
def prepared(run_dir, utterances):
    """The test set alone has words that no dictionary has."""
    utterances["test"][0] = replace(utterances["test"][0], words=("ONE", "ZEBRALINE", "ZEBRA'S"))
    make_prepared(run_dir, utterances)


@pytest.fixture
def part(settings, tmp_path) -> Settings:
    """Settings that name the entries of CMUdict from F, O, T and Z: all of them take a second to read."""
    with dictionary_file(settings) as whole:
        lines = [line for line in whole.read_text(encoding="utf-8").splitlines(keepends=True) if line[0] in "fotz"]
    path = tmp_path / "part.dict"
    path.write_text("".join(lines), encoding="utf-8")
    return replace(settings, lexicon=LexiconSettings(path=str(path)))


def _table(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def test_words_of_all_sets_and_how_the_unknown_ones_were_made(run_dir, settings, prepared) -> None:
    made = lexicon(run_dir, settings)
    found = read_lexicon(made.path / "lexicon.txt")
    assert set(found.pronunciations) == {"ONE", "TWO", "ZEBRALINE", "ZEBRA'S"}
    assert ("W", "AH1", "N") in found.pronunciations["ONE"]
    assert found.pronunciations["ZEBRA'S"] == (("Z", "IY1", "B", "R", "AH0", "Z"),)
    assert (made.path / "phones.txt").read_text().split() == list(found.phones)
    header, *rows = _table(made.path / "g2p.tsv")
    assert header == ["word", "phones", "made_from", "occurs_in"]
    assert [(row[0], row[3]) for row in rows] == [("ZEBRA'S", "test"), ("ZEBRALINE", "test")]
    assert rows[0][2] == "ZEBRA"
    assert rows[1][2].startswith("/")
    assert {name: made.metrics[name] for name in ("words", "g2p_words", "unpronounceable_words", "phones")} == {
        "words": 4,
        "g2p_words": 2,
        "unpronounceable_words": 0,
        "phones": len(found.phones),
    }
    assert made.metrics["g2p_words_by_set"] == {"train": 0, "dev": 0, "test": 2}


def test_stress_can_be_taken_off(run_dir, part, prepared) -> None:
    made = lexicon(run_dir, replace(part, lexicon=replace(part.lexicon, stress=False)))
    assert not any(phone[-1].isdigit() for phone in read_lexicon(made.path / "lexicon.txt").phones)
    assert not any(character.isdigit() for row in _table(made.path / "g2p.tsv") for character in row[1])


def test_phones_can_tell_their_position(run_dir, part, prepared) -> None:
    plain = read_lexicon(lexicon(run_dir, part).path / "lexicon.txt")
    made = lexicon(run_dir, replace(part, lexicon=replace(part.lexicon, word_position=True)))
    assert read_lexicon(made.path / "lexicon.txt") == with_positions(plain) != plain


def test_words_of_the_language_model(run_dir, part, prepared, tmp_path) -> None:
    arpa = tmp_path / "lm.arpa"
    arpa.write_text(ARPA.format(unigrams="-1 <s>\n-1 </s>\n-1 <unk>\n-1 ONE\n-1 FOUR\n"))
    with_model = replace(part, language_model=LanguageModelSettings(arpa=str(arpa)))
    made = lexicon(run_dir, with_model)
    assert set(read_lexicon(made.path / "lexicon.txt").pronunciations) == {"ONE", "TWO", "FOUR", "ZEBRALINE", "ZEBRA'S"}
    before = made.fingerprint
    arpa.write_text(ARPA.format(unigrams="-1 <s>\n-1 </s>\n-1 <unk>\n-1 ONE\n-1 FIVE\n"))
    again = lexicon(run_dir, with_model)
    assert again.fingerprint != before
    assert "FIVE" in read_lexicon(again.path / "lexicon.txt").pronunciations


def test_a_dictionary_of_ones_own_decides_the_set_of_phones(run_dir, settings, prepared, tmp_path) -> None:
    own = tmp_path / "own.dict"
    own.write_text("one W AH N\ntwo T UW\nzebra Z IY B R AH\nfile F AY L\nmet M EH T\n")
    made = lexicon(run_dir, replace(settings, lexicon=LexiconSettings(path=str(own))))
    found = read_lexicon(made.path / "lexicon.txt")
    assert found.pronunciations["ONE"] == (("W", "AH", "N"),)
    assert found.pronunciations["ZEBRA'S"] == (("Z", "IY", "B", "R", "AH", "Z"),)
    assert found.pronunciations["ZEBRALINE"] == (("Z", "EH", "B", "R", "AH", "L", "AY", "N"),)


def test_words_cannot_be_guessed_in_phones_that_are_not_cmudicts(run_dir, settings, prepared, tmp_path) -> None:
    own = tmp_path / "own.dict"
    own.write_text("one w a n\ntwo t u\n")
    with_own = replace(settings, lexicon=LexiconSettings(path=str(own)))
    with pytest.raises(UserError, match=r"own\.dict has phones that are not CMUdict's .* 2 words, such as ZEBRA'S"):
        lexicon(run_dir, with_own)
    own.write_text("one w a n\ntwo t u\nzebraline z e\nzebra's z\n")  # nothing to guess: any phones will do
    assert lexicon(run_dir, with_own).metrics["phones"] == 2 + 7


def test_phones_that_look_as_if_they_told_a_position_are_refused(run_dir, settings, prepared, tmp_path) -> None:
    own = tmp_path / "own.dict"
    own.write_text("one t_S a\ntwo t u\n")
    with pytest.raises(UserError, match=r"own\.dict has the phone t_S"):
        lexicon(run_dir, replace(settings, lexicon=LexiconSettings(path=str(own))))


def test_malformed_dictionary_and_missing_input(run_dir, settings, prepared, tmp_path) -> None:
    own = tmp_path / "own.dict"
    own.write_text("one W AH N\ntwo\n")
    with pytest.raises(UserError, match=r"own\.dict, line 2"):
        lexicon(run_dir, replace(settings, lexicon=LexiconSettings(path=str(own))))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="kd-asr prepare"):
        lexicon(empty, settings)
