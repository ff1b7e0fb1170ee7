"""What each utterance's errors come from, by the costs of what was said and of what was recognised.

If what was said costs less, the search has missed it: a wider beam would find it. Otherwise the models prefer what was
recognised, and the cost of either side by the language model tells which of the models do (L. Chase, "Blame assignment
for errors made by large vocabulary speech recognizers", Eurospeech 1997).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kd_asr.evaluation.wer import GAP, WordErrors, align_words, score_words, total_errors

Cause = Literal["vocabulary", "search", "language model", "acoustics", "both models"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
# Nats by which costs of one path may differ: minimising a graph rounds each weight to 1/1024.
_ROUNDING = 0.1


@dataclass(frozen=True)
class Costs:
    """Cost of a path, as a search minimises it, in nats.

    Attributes:
        total: Graph, insertion penalties, and scaled acoustic cost.
        language: Share of the language model.
    """

    total: float
    language: float

    @property
    def rest(self) -> float:
        """All but the language model: acoustics, pronunciations, penalties."""
        return self.total - self.language


@dataclass(frozen=True)
class Examined:
    """An utterance, what was recognised, and what else might have been.

    Attributes:
        utterance_id: Id of the utterance.
        speaker: Its speaker.
        reference: What was said.
        alternatives: What was recognised, and other word sequences of the same search, the cheapest first.
        unknown: Words of the reference that the graph lacks.
        of_reference: Costs of what was said; None if the graph lacks a word of it, or it is too long for the audio.
        of_hypothesis: Costs of what was recognised.
        frame_accuracy: Share of the frames in which the network agrees with the alignment, 0..1.
    """

    utterance_id: str
    speaker: str
    reference: tuple[str, ...]
    alternatives: tuple[tuple[str, ...], ...]
    unknown: frozenset[str]
    of_reference: Costs | None
    of_hypothesis: Costs
    frame_accuracy: float

    @property
    def hypothesis(self) -> tuple[str, ...]:
        """What was recognised."""
        return self.alternatives[0] if self.alternatives else ()

    @property
    def errors(self) -> WordErrors:
        """Errors of what was recognised."""
        return score_words(self.reference, self.hypothesis)

    def oracle(self, count: int) -> WordErrors:
        """Errors of the best of the first `count` alternatives."""
        scored = [score_words(self.reference, words) for words in self.alternatives[:count] or ((),)]
        return min(scored, key=lambda one: one.errors)

    @property
    def cause(self) -> Cause | None:
        """What its errors come from; None if it has none."""
        if not self.errors.errors:
            return None
        if self.unknown or self.of_reference is None:
            return "vocabulary"
        said, found = self.of_reference, self.of_hypothesis
        if said.total < found.total - _ROUNDING:
            return "search"
        prefers = said.language > found.language, said.rest > found.rest
        return {(True, False): "language model", (False, True): "acoustics"}.get(prefers, "both models")  # type: ignore[return-value]


def by(utterances: Iterable[Examined], key: Callable[[Examined], Hashable]) -> dict[Hashable, list[Examined]]:
    """Groups of utterances, in the order in which they come."""
    found: dict[Hashable, list[Examined]] = {}
    for one in utterances:
        found.setdefault(key(one), []).append(one)
    return found


def errors_of(utterances: Iterable[Examined]) -> WordErrors:
    """Errors of several utterances."""
    return total_errors(one.errors for one in utterances)


@dataclass(frozen=True)
class Unknown:
    """Errors at words that the graph lacks.

    Attributes:
        words: Such words in the references.
        errors: Errors at these words themselves: each is at least one.
        beside: Errors at the places just before or after them.
    """

    words: int
    errors: int
    beside: int


def unknown_words(utterances: Iterable[Examined]) -> Unknown:
    """Errors at words that the graph lacks, and beside them."""
    words = errors = beside = 0
    for one in utterances:
        aligned = align_words(one.reference, one.hypothesis)
        wrong = [said != found for said, found in zip(aligned.reference, aligned.hypothesis, strict=True)]
        unknown = [said != GAP and said in one.unknown for said in aligned.reference]
        words += sum(unknown)
        errors += sum(bad for bad, lacks in zip(wrong, unknown, strict=True) if lacks)
        near = [any(unknown[max(0, place - 1) : place + 2]) for place in range(len(unknown))]
        beside += sum(
            bad for bad, lacks, close in zip(wrong, unknown, near, strict=True) if close and not lacks
        )
    return Unknown(words, errors, beside)


def quarters(utterances: Sequence[Examined]) -> list[list[Examined]]:
    """Utterances in four groups of equal size, by frame accuracy, the lowest first."""
    ordered = sorted(utterances, key=lambda one: (one.frame_accuracy, one.utterance_id))
    return [[ordered[number] for number in part] for part in np.array_split(np.arange(len(ordered)), 4) if len(part)]
