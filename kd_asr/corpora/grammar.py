"""Sentences of the embedded corpus: a small probabilistic context-free grammar of English.

Capital symbols are expanded, small words are spoken; a comma is a pause, `a` becomes `an` before a vowel. Open word
classes are dealt like cards: a word comes again only when all others of its class have had their turn. So a training
text of a few thousand words still covers the vocabulary, and an n-gram model of it knows nearly every word of the
other sets, though hardly any of their sentences.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise

from kd_asr.corpora import vocabulary

WORD_CLASSES: Mapping[str, Sequence[str]] = {
    "NOUN": vocabulary.NOUNS,
    "PLURAL": vocabulary.PLURALS,
    "ADJECTIVE": vocabulary.ADJECTIVES,
    "DID": vocabulary.TRANSITIVE_PAST,
    "DO": vocabulary.TRANSITIVE_BASE,
    "WENT": vocabulary.INTRANSITIVE_PAST,
    "ADVERB": vocabulary.ADVERBS,
    "PREPOSITION": vocabulary.PREPOSITIONS,
    "NAME": vocabulary.NAMES,
    "PLACE": vocabulary.PLACES,
    "NUMBER": vocabulary.NUMBERS,
    "DAY": vocabulary.DAYS,
    "MONTH": vocabulary.MONTHS,
}

# Symbol -> (weight, expansion), ...
RULES: Mapping[str, tuple[tuple[float, str], ...]] = {
    "SENTENCE": (
        (6, "SUBJECT PREDICATE"),
        (2, "SUBJECT PREDICATE WHEN"),
        (2, "WHEN , SUBJECT PREDICATE"),
        (2, "SUBJECT PREDICATE and PREDICATE"),
        (1, "SUBJECT PREDICATE , but SUBJECT PREDICATE"),
        (1, "SUBJECT PREDICATE because SUBJECT PREDICATE"),
        (1, "SUBJECT said that SUBJECT PREDICATE"),
        (1, "if SUBJECT DID THING , SUBJECT would DO THING"),
        (1, "why did SUBJECT DO THING"),
        (1, "there were NUMBER PLURAL PREPOSITION THING"),
        (1, "please DO THING and DO THING"),
    ),
    "PREDICATE": (
        (6, "DID THING"),
        (3, "DID THING PREPOSITION THING"),
        (2, "ADVERB DID THING"),
        (2, "WENT PREPOSITION THING"),
        (1, "WENT ADVERB"),
        (2, "MAY DO THING"),
        (1, "was ADJECTIVE and ADJECTIVE"),
        (1, "was THING"),
        (1, "had NUMBER PLURAL"),
    ),
    "SUBJECT": (
        (4, "NAME"),
        (2, "PRONOUN"),
        (5, "the NOUN"),
        (3, "the ADJECTIVE NOUN"),
        (1, "OWNER NOUN"),
        (1, "NAME and NAME"),
        (1, "the NOUN from PLACE"),
    ),
    "THING": (
        (4, "the NOUN"),
        (3, "the ADJECTIVE NOUN"),
        (2, "a NOUN"),
        (3, "a ADJECTIVE NOUN"),
        (2, "OWNER NOUN"),
        (2, "NUMBER PLURAL"),
        (1, "NUMBER ADJECTIVE PLURAL"),
        (1, "the NOUN of PLACE"),
        (1, "NAME"),
        (1, "the ADJECTIVE PLURAL"),
    ),
    "PRONOUN": ((2, "he"), (2, "she"), (2, "they"), (1, "we"), (1, "i"), (1, "you"), (1, "nobody"), (1, "everyone")),
    "OWNER": ((1, "his"), (1, "her"), (1, "their"), (1, "our"), (1, "my"), (1, "your"), (1, "this"), (1, "every")),
    "MAY": ((1, "could"), (1, "would"), (1, "should"), (1, "must"), (1, "might"), (1, "will"), (1, "did not")),
    "WHEN": (
        (2, "on DAY"),
        (2, "in MONTH"),
        (1, "last MONTH"),
        (1, "NUMBER PLURAL ago"),
        (1, "in PLACE"),
        (1, "yesterday"),
        (1, "this evening"),
    ),
}

VOWELS = tuple("aeiou")
# Vowels in writing that are consonants in speech, and the other way round.
TAKES_A = {"one", "use", "useful", "uniform", "europe"}
TAKES_AN = {"hour", "honest"}


class Grammar:
    """A source of sentences; the same seed gives the same ones."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._decks: dict[str, list[str]] = {}

    def sentence(self) -> str:
        """One sentence in small letters, with commas."""
        tokens = self._expand("SENTENCE")
        for position, (token, following) in enumerate(pairwise(tokens)):
            if token == "a" and following not in TAKES_A and (following.startswith(VOWELS) or following in TAKES_AN):
                tokens[position] = "an"
        return " ".join(tokens).replace(" ,", ",")

    def _expand(self, symbol: str) -> list[str]:
        if symbol in WORD_CLASSES:
            return [self._deal(symbol)]
        if symbol not in RULES:
            return [symbol]
        weights, expansions = zip(*RULES[symbol], strict=True)
        chosen = self._random.choices(expansions, weights)[0]
        return [word for part in chosen.split() for word in self._expand(part)]

    def _deal(self, word_class: str) -> str:
        """The next card of a shuffled deck; a used-up deck is shuffled again."""
        deck = self._decks.setdefault(word_class, [])
        if not deck:
            deck += WORD_CLASSES[word_class]
            self._random.shuffle(deck)
        return deck.pop()


def all_words() -> set[str]:
    """Every word the grammar can say, in small letters."""
    spoken = {word for words in WORD_CLASSES.values() for word in words} | {"an"}
    for alternatives in RULES.values():
        for _, expansion in alternatives:
            spoken |= {token for token in expansion.split() if token not in RULES and token not in WORD_CLASSES}
    return spoken - {","}
