"""Figures of the experiment `filters`: means over seeds, and paired differences with a test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import permutation_test

from kd_asr.evaluation.seeds import mean_interval

# Differences that are taken seed by seed. Students of a seed began with the same weights and saw the same batches.
QUESTIONS = {
    "own": "distilled: own teacher less other teachers",
    "alone": "own teacher: distilled less hard labels",
    "any": "other teachers: distilled less hard labels",
    "inherited": "own less other teachers: distilled less hard labels",
}
_MOST_PATTERNS = 1 << 14
# By kind of student and relation, at each moment a value for each seed.
Curves = Mapping[str, Mapping[str, Sequence[Sequence[float] | None]]]


def sign_flip_p_value(differences: Sequence[float]) -> float:
    """Two-sided p-value of a mean of paired differences, over all patterns of their signs (Fisher 1935).

    With n pairs it is at least 2 / 2^n.

    Raises:
        ValueError: there are more patterns than can be looked at.
    """
    if 2 ** len(differences) > _MOST_PATTERNS:
        raise ValueError(f"{len(differences)} differences have too many patterns of signs")
    found = permutation_test(
        (np.asarray(differences),), np.mean, permutation_type="samples", vectorized=True, n_resamples=_MOST_PATTERNS
    )
    return float(found.pvalue)


def filter_figures(compared: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of `experiments.filters.compare.compare`.

    Returns:
        `moments`, numbers of updates; `measures`, their names; `curves`, by measure, kind of student and relation
        (`own` teacher or the `other` ones, of which the mean is taken), a value for each seed at each moment;
        `teachers`, by measure, the mean over pairs of teachers; `comparisons`, each of `QUESTIONS` by measure.
    """
    table: dict[tuple[str, str, int, int], dict[int, float]] = {}
    for row in compared["likenesses"]:
        key = row["measure"], row["kind"], row["number"], row["updates"]
        table.setdefault(key, {})[row["teacher"]] = row["value"]
    measures = list(dict.fromkeys(row["measure"] for row in compared["likenesses"]))
    students = [kind for kind in compared["accuracies"] if kind != "teacher"]
    numbers = range(len(compared["accuracies"]["teacher"]))
    moments = sorted({updates for _, kind, _, updates in table if kind != "teacher"})

    def at(measure: str, kind: str, updates: int, relation: str) -> list[float] | None:
        """A value for each seed; None where the measure is not taken at this moment."""
        rows = [table.get((measure, kind, number, updates)) for number in numbers]
        if any(row is None for row in rows):
            return None
        return [
            row[number] if relation == "own" else _mean(value for other, value in row.items() if other != number)
            for number, row in zip(numbers, rows, strict=True)
            if row is not None
        ]

    curves = {
        measure: {
            kind: {
                relation: [at(measure, kind, updates, relation) for updates in moments] for relation in ("own", "other")
            }
            for kind in students
        }
        for measure in measures
    }
    between = {
        measure: _mean(value for (name, kind, *_), row in table.items() if (name, kind) == (measure, "teacher")
                       for value in row.values())
        for measure in measures
    }  # fmt: skip
    comparisons = [
        {"measure": measure, "question": question, **_tested(_difference(curves[measure], question))}
        for measure in measures
        for question in QUESTIONS
    ]
    return {
        "moments": moments,
        "measures": measures,
        "seeds": len(numbers),
        "curves": curves,
        "teachers": between,
        "comparisons": comparisons,
        **{key: compared[key] for key in ("layers", "accuracies", "pictures", "responses")},
    }


def _difference(curves: Curves, question: str) -> list[float]:
    """The difference of a question after the last update, for each seed."""
    last = {
        (kind, relation): np.array(values[-1] or []) for kind, by in curves.items() for relation, values in by.items()
    }
    found = {
        "own": last["distilled", "own"] - last["distilled", "other"],
        "alone": last["distilled", "own"] - last["hard", "own"],
        "any": last["distilled", "other"] - last["hard", "other"],
        "inherited": last["distilled", "own"] - last["distilled", "other"]
        - (last["hard", "own"] - last["hard", "other"]),
    }[question]  # fmt: skip
    return [float(value) for value in found]


def _tested(values: Sequence[float]) -> dict[str, Any]:
    return {
        "values": list(values),
        "mean": float(np.mean(values)),
        "interval": mean_interval(values),
        "p_value": sign_flip_p_value(values),
    }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
