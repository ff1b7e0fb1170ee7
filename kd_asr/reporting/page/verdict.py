"""What a run found, in three sentences made of its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_asr.jobs.systems import Group
from kd_asr.reporting.contents import Report, systems_of
from kd_asr.reporting.figures import comparison_key
from kd_asr.reporting.tables import count, percent, percent_interval, signed_percent


def verdict(report: Report) -> list[str]:
    """Three sentences: what the ensemble gains over the baseline, what of it the students keep, what it costs.

    Without a baseline or an ensemble there is one sentence for each comparison that there is.
    """
    systems = systems_of(report)
    reference, teacher = systems.reference, systems.teacher
    students = [group for group in systems.students if group.size == 1] or list(systems.students)
    if reference is None or teacher is None or not students:
        return [_difference(report, first, second) for first, second in systems.comparisons]
    return [
        _difference(report, teacher, reference),
        _kept(report, students[0], reference, teacher),
        _cost(report, students[0], teacher, others=len(systems.students) - 1),
    ]


def _compared(report: Report, measure: str, first: Group, second: Group) -> Mapping[str, Any]:
    found: Mapping[str, Any] = report["figures"]["comparisons"]["test"][measure][comparison_key(first, second)]
    return found


def judged(compared: Mapping[str, Any], *, higher_is_better: bool) -> str:
    """`better`, `worse`, `equal` on every draw, or `not to be told apart` where the interval holds 0."""
    low, high = compared["interval"]
    if low == high == 0:
        return "equal"
    if low <= 0 <= high:
        return "not to be told apart"
    return "better" if (low > 0) == higher_is_better else "worse"


def _points(compared: Mapping[str, Any]) -> str:
    interval = percent_interval(compared["interval"], signed=True)
    return f"{signed_percent(compared['value'])} points, 95 % interval {interval}"


def _difference(report: Report, first: Group, second: Group) -> str:
    accuracy, wer = (_compared(report, measure, first, second) for measure in ("frame_accuracy", "wer"))
    of_frames = judged(accuracy, higher_is_better=True)
    of_words = judged(wer, higher_is_better=False)
    subject = f"On test the {first.in_a_sentence} is"
    from_ = {"better": "than", "worse": "than", "equal": "to", "not to be told apart": "from"}
    return (
        f"{subject} {of_frames} {from_[of_frames]} the {second.in_a_sentence} in frame accuracy ({_points(accuracy)}) "
        f"and {of_words} {from_[of_words]} it in word error rate ({_points(wer)})."
    )


def _kept(report: Report, student: Group, reference: Group, teacher: Group) -> str:
    accuracy = _compared(report, "frame_accuracy", student, reference)
    wer = _compared(report, "wer", student, reference)
    share = report["figures"]["share_of_gain"]["test"]["frame_accuracy"][student.name]
    gained = judged(accuracy, higher_is_better=True), judged(wer, higher_is_better=False)
    taught = judged(_compared(report, "frame_accuracy", teacher, reference), higher_is_better=True)
    name = f"the {student.in_a_sentence}"
    if taught != "better" or share["value"] is None:
        kept = f"There is no certain gain for {name} to keep"
    else:
        kept = f"{name[0].upper()}{name[1:]} keeps {percent(share['value'], 0)} % of the gain in frame accuracy"
        kept += f" (95 % interval {percent_interval(share['interval'], 0)})"
    beside = f"beside the {reference.in_a_sentence} its frame accuracy is {_said(gained[0])} ({_points(accuracy)})"
    return f"{kept}; {beside}, its word error rate {_said(gained[1])} ({_points(wer)})."


def _said(judgement: str) -> str:
    return {"equal": "the same", "not to be told apart": "not certainly another"}.get(judgement, judgement)


def _cost(report: Report, student: Group, teacher: Group, *, others: int) -> str:
    own, whole = (report["sizes"][group.name]["parameters"] for group in (student, teacher))
    size = f"{whole / own:.3g} times as many" if own != whole else "as many"
    wer = _compared(report, "wer", student, teacher)
    test = report["figures"]["systems"][student.name]["test"]
    more = f" ({count(others)} further kinds of students are in the table)" if others > 0 else ""
    return (
        f"It has {count(own)} parameters, the {teacher.in_a_sentence} {size}, and its word error rate "
        f"of {percent(test['wer'])} % over {count(test['utterances'])} utterances differs from the "
        f"{teacher.in_a_sentence}'s by {_points(wer)}{more}."
    )
