"""Figures and page of the experiment `privileged` on speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kd_asr.evaluation.seeds import mean_difference
from kd_asr.evaluation.significance import difference, estimate_ratios, mean_estimate
from kd_asr.experiments.heard.plan import ARMS, CASES, Arm
from kd_asr.reporting.tables import Table, p_value, percent, percent_interval, signed_percent, to_markdown

# Students whose word error rates are subtracted, the second from the first.
_COMPARED: tuple[tuple[Arm, Arm], ...] = (("privileged", "unprivileged"), ("privileged", "plain"))


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over students and differences between their kinds, on the same draws of utterances.

    Args:
        rows: a student each: `case`, `arm`, counts by utterance (`word_errors`, `words`) and `frame_accuracy`.
    """
    cases = list(dict.fromkeys(row["case"] for row in rows))
    systems, comparisons = [], []
    for case in cases:
        own = [row for row in rows if row["case"] == case]
        counted = estimate_ratios(np.array([row["word_errors"] for row in own]), np.array(own[0]["words"]))
        of_arm = {arm: [one for one, row in zip(counted, own, strict=True) if row["arm"] == arm] for arm in ARMS}
        means = {arm: mean_estimate(each) for arm, each in of_arm.items()}
        for arm in ARMS:
            accuracies = [row["frame_accuracy"] for row in own if row["arm"] == arm]
            systems.append(
                {
                    "case": case,
                    "arm": arm,
                    "students": len(accuracies),
                    "frame_accuracy": float(np.mean(accuracies)),
                    "wer": means[arm].value,
                    "wers": [one.value for one in of_arm[arm]],
                    "interval": list(means[arm].interval()),
                }
            )
        for one, other in _COMPARED:
            first, second = ([each.value for each in of_arm[arm]] for arm in (one, other))
            over_seeds = mean_difference(first, second)
            comparisons.append(
                {
                    "case": case,
                    "arms": [one, other],
                    **asdict(difference(means[one], means[other])),
                    "relative": means[one].value / means[other].value - 1.0 if means[other].value else 0.0,
                    "over_seeds": asdict(over_seeds) if over_seeds else None,
                }
            )
    return {"systems": systems, "comparisons": comparisons}


def table_of(content: Mapping[str, Any]) -> Table:
    """Frame accuracy and word error rate of every kind of student in every case."""
    rows = [
        (
            f"{one['case'].replace('_', ' ')}: {ARMS[one['arm']]}",
            percent(one["frame_accuracy"]),
            percent(one["wer"]),
            percent_interval(one["interval"]),
            str(one["students"]),
        )
        for one in content["systems"]
    ]
    heads = ("student", "test frame accuracy %", "test WER %", "95 % interval", "students")
    return Table(heads, tuple(rows), content["title"])


def _sentences(content: Mapping[str, Any]) -> list[str]:
    found = []
    for one in content["comparisons"]:
        first, second = (ARMS[arm] for arm in one["arms"])
        over_seeds = one["over_seeds"]
        seeds = f"; over seeds p {p_value(over_seeds['p_value'])}" if over_seeds else ""
        found.append(
            f"- {one['case'].replace('_', ' ')}: the WER of the {first} differs from that of the {second} by "
            f"{signed_percent(one['value'])} points ({signed_percent(one['relative'], 1)} % relative; 95 % interval "
            f"over utterances {percent_interval(one['interval'], signed=True)}, p {p_value(one['p_value'])}{seeds})."
        )
    return found


def page(content: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    cases = dict.fromkeys(one["case"] for one in content["systems"])
    return "\n\n".join(
        [
            f"# {content['title']}",
            content["description"],
            "\n".join(f"- **{case.replace('_', ' ')}**: {CASES[case]}." for case in cases),
            f"Test is what the students hear. The privileged teachers are an ensemble of {content['privileged']}; "
            f"those without the privilege, {content['unprivileged']} of the same network and budget, have heard the "
            "training set as students do. All students of a case and number begin with the same weights and see the "
            "data in one order.",
            to_markdown(table_of(content)).rstrip("\n"),
            "\n".join(_sentences(content)),
        ]
    ) + "\n"
