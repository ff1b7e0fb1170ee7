"""The phone language model of the denominator (Povey and others, Interspeech 2016, section 2.2).

Probabilities are shares of counts, without smoothing: the graph has to be small, not to have every sequence. Every
history of two phones has a state. Of the histories of three, those have one that raise the likelihood of the phones
most; what follows the others counts for their last two phones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kd_asr.errors import UserError

# Stands before and after each sequence.
BOUNDARY = ""
History = tuple[str, ...]


@dataclass(frozen=True)
class PhoneLm:
    """A deterministic automaton of phones.

    Attributes:
        arcs: For each state, the history it stands for, by phone: the following state and the probability, 0..1. The
            state `(BOUNDARY,)` is the start.
        ends: Probability of the end in each state; with those of its arcs it sums to 1.
    """

    arcs: Mapping[History, Mapping[str, tuple[History, float]]]
    ends: Mapping[History, float]

    @property
    def start(self) -> History:
        """State before the first phone."""
        return (BOUNDARY,)

    def log_probability(self, phones: Sequence[str]) -> float:
        """Natural logarithm of the probability of a whole sequence; -inf if it is impossible."""
        state, total = self.start, 0.0
        for phone in phones:
            if phone not in self.arcs[state]:
                return -math.inf
            state, probability = self.arcs[state][phone]
            total += math.log(probability)
        return total + (math.log(self.ends[state]) if self.ends[state] > 0 else -math.inf)


def estimate_phone_lm(sequences: Iterable[Sequence[str]], *, longer_histories: int = 2000) -> PhoneLm:
    """Estimate a model of order 4.

    Args:
        sequences: phones of the training utterances, silence included.
        longer_histories: largest number of histories of three phones that have a state of their own (Kaldi's
            `num-extra-lm-states`).

    Raises:
        UserError: there are no phones.
    """
    counts: dict[History, Counter[str]] = {}
    for phones in sequences:
        history: History = (BOUNDARY,)
        for phone in (*phones, BOUNDARY):
            counts.setdefault(history, Counter())[phone] += 1
            history = (*history, phone)[-3:]
    if not any(phone != BOUNDARY for of_history in counts.values() for phone in of_history):
        raise UserError("there are no phones to estimate a phone language model from: align the training set first")
    short: dict[History, Counter[str]] = {}
    for history, of_history in counts.items():
        short.setdefault(history[-2:], Counter()).update(of_history)
    gains = {
        history: sum(
            count * math.log(count / own.total() * short[history[-2:]].total() / short[history[-2:]][phone])
            for phone, count in own.items()
        )
        for history, own in counts.items()
        if len(history) == 3
    }
    # Equal ones in the order of their phones.
    best = sorted((history for history in gains if gains[history] > 0), key=lambda name: (-gains[name], name))
    kept = set(best[:longer_histories])
    merged: dict[History, Counter[str]] = {}
    for history, own in counts.items():
        merged.setdefault(history if history in kept else history[-2:], Counter()).update(own)

    def following(history: History, phone: str) -> History:
        longest = (*history, phone)[-3:]
        return longest if longest in kept else longest[-2:]

    arcs: dict[History, dict[str, tuple[History, float]]] = {}
    ends: dict[History, float] = {}
    waiting: list[History] = [(BOUNDARY,)]
    while waiting:
        history = waiting.pop()
        if history in arcs:
            continue
        own, total = merged[history], merged[history].total()
        arcs[history] = {
            phone: (following(history, phone), count / total)
            for phone, count in sorted(own.items())
            if phone != BOUNDARY
        }
        ends[history] = own[BOUNDARY] / total
        waiting += [state for state, _ in arcs[history].values()]
    return PhoneLm(arcs, ends)
