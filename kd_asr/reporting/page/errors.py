"""Word errors of a set by utterance, speaker, word and length, for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_asr.evaluation.wer import GAP, AlignedWords, WordErrors, total_errors
from kd_asr.jobs.systems import Group, Systems
from kd_asr.reporting.run_results import DecodedUtterance
from kd_asr.reporting.tables import Table, count, percent

Decoded = Mapping[str, Sequence[DecodedUtterance]]
_LENGTHS = (4, 8, 12, 16, 24)  # words; the last class has more
_MOST_WORDS = 25


@dataclass(frozen=True)
class SideBySide:
    """The words of several systems below those of the reference; None where there is no word.

    Attributes:
        reference: Word of each column.
        rows: Words of each system, as many as the reference has columns.
    """

    reference: tuple[str | None, ...]
    rows: tuple[tuple[str | None, ...], ...]


def side_by_side(aligned: Sequence[AlignedWords]) -> SideBySide:
    """Join the alignments of several hypotheses with the same reference: what was inserted gets columns of its own."""
    words = [word for word in aligned[0].reference if word != GAP]
    inserted: list[list[list[str]]] = []  # by system, what stands before each word of the reference and at the end
    chosen: list[list[str | None]] = []
    for one in aligned:
        before: list[list[str]] = [[]]
        own: list[str | None] = []
        for reference, hypothesis in zip(one.reference, one.hypothesis, strict=True):
            if reference == GAP:
                before[-1].append(hypothesis)
            else:
                own.append(None if hypothesis == GAP else hypothesis)
                before.append([])
        inserted.append(before)
        chosen.append(own)
    top: list[str | None] = []
    rows: list[list[str | None]] = [[] for _ in aligned]
    for place in range(len(words) + 1):
        width = max(len(before[place]) for before in inserted)
        top += [None] * width
        for row, before in zip(rows, inserted, strict=True):
            row += [*before[place], *[None] * (width - len(before[place]))]
        if place < len(words):
            top.append(words[place])
            for row, own in zip(rows, chosen, strict=True):
                row.append(own[place])
    return SideBySide(tuple(top), tuple(map(tuple, rows)))


def utterance_rows(decoded: Decoded, systems: Systems, speakers: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the page lists of each utterance: id, speaker, seconds, words, errors of each group (mean over its systems),
    and the words of each system side by side."""
    names = [system.name for system in systems.systems]
    rows = []
    for each in zip(*(decoded[name] for name in names), strict=True):
        found = dict(zip(names, each, strict=True))
        words = side_by_side([one.aligned for one in each])
        rows.append(
            {
                "id": each[0].utterance_id,
                "speaker": speakers.get(each[0].utterance_id, ""),
                "seconds": round(each[0].seconds, 2),
                "words": each[0].aligned.errors.reference_words,
                "errors": [
                    round(_mean([found[one.name].aligned.errors.errors for one in systems.of_group(group)]), 2)
                    for group in systems.groups
                ],
                "reference": words.reference,
                "rows": words.rows,
            }
        )
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def error_rates(decoded: Decoded) -> dict[str, float]:
    """Errors of all systems together, per reference word, by utterance; an utterance without words counts as one."""
    sums: dict[str, list[int]] = {}
    for utterances in decoded.values():
        for one in utterances:
            errors = one.aligned.errors
            total = sums.setdefault(one.utterance_id, [0, 0])
            total[0] += errors.errors
            total[1] += errors.reference_words
    return {name: errors / max(1, words) for name, (errors, words) in sums.items()}


@dataclass(frozen=True)
class ByClass:
    """WERs of classes of utterances.

    Attributes:
        classes: Names, in order.
        rates: WER of each group (mean over its systems) in each class; None without reference words.
        words: Reference words of each class.
    """

    classes: tuple[str, ...]
    rates: dict[str, list[float | None]]
    words: tuple[int, ...]


def wer_by(decoded: Decoded, systems: Systems, key: Mapping[str, str]) -> ByClass:
    """WERs in the classes that `key` gives utterances, in the order in which they first occur there."""
    classes = tuple(dict.fromkeys(key.values()))

    def totals(name: str) -> list[WordErrors]:
        by_class: dict[str, list[WordErrors]] = {one: [] for one in classes}
        for one in decoded[name]:
            by_class[key[one.utterance_id]].append(one.aligned.errors)
        return [total_errors(by_class[one]) for one in classes]

    words = tuple(total.reference_words for total in totals(systems.systems[0].name))
    rates: dict[str, list[float | None]] = {}
    for group in systems.groups:
        found = [totals(system.name) for system in systems.of_group(group)]
        rates[group.name] = [
            _mean([one[number].wer for one in found]) if words[number] else None for number in range(len(classes))
        ]
    return ByClass(classes, rates, words)


def length_class(words: int) -> str:
    """Name of the class of utterances with about as many reference words."""
    first = 0
    for last in _LENGTHS:
        if words <= last:
            return f"{first} to {last}"
        first = last + 1
    return f"{first} or more"


def lengths(decoded: Sequence[DecodedUtterance]) -> dict[str, str]:
    """`length_class` of each utterance, the shortest first."""
    ordered = sorted(decoded, key=lambda one: one.aligned.errors.reference_words)
    return {one.utterance_id: length_class(one.aligned.errors.reference_words) for one in ordered}


def word_errors_table(decoded: Decoded, systems: Systems) -> Table:
    """Words of the reference that are most often missed by all systems together, and what is said instead."""
    missed: dict[str, Counter[str]] = {group.name: Counter() for group in systems.groups}
    spoken: Counter[str] = Counter()
    instead: dict[str, Counter[str]] = {}
    for group in systems.groups:
        for number, system in enumerate(systems.of_group(group)):
            for one in decoded[system.name]:
                for word, hypothesis in zip(one.aligned.reference, one.aligned.hypothesis, strict=True):
                    if word == GAP:
                        continue
                    spoken[word] += group is systems.groups[0] and number == 0
                    if word != hypothesis:
                        missed[group.name][word] += 1
                        instead.setdefault(word, Counter())[hypothesis] += 1
    order = sorted(
        instead, key=lambda word: (-sum(_rate(missed, systems, group, word) for group in systems.groups), word)
    )
    rows = tuple(
        (
            word,
            count(spoken[word]),
            *(count(round(_rate(missed, systems, group, word), 1)) for group in systems.groups),
            ", ".join("(left out)" if other == GAP else other for other, _ in instead[word].most_common(3)),
        )
        for word in order[:_MOST_WORDS]
    )
    return Table(("word", "spoken", *(f"{group.label}: missed" for group in systems.groups), "instead"), rows)


def _rate(missed: Mapping[str, Counter[str]], systems: Systems, group: Group, word: str) -> float:
    """How often one system of a group misses a word."""
    return missed[group.name][word] / len(systems.of_group(group))


def speaker_table(decoded: Decoded, systems: Systems, speakers: Mapping[str, str]) -> Table:
    """WER of each group by speaker."""
    key = {one.utterance_id: speakers.get(one.utterance_id, "") for one in next(iter(decoded.values()))}
    found = wer_by(decoded, systems, dict(sorted(key.items(), key=lambda item: item[1])))
    rows = tuple(
        (name, count(found.words[number]), *(percent(found.rates[group.name][number]) for group in systems.groups))
        for number, name in enumerate(found.classes)
    )
    return Table(("speaker", "words", *(f"{group.label}: WER %" for group in systems.groups)), rows)
