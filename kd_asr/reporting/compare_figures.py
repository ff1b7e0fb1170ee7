"""Figures of a comparison of methods, as one plain dictionary for tables and plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_asr.errors import UserError
from kd_asr.evaluation.seeds import mean_difference, mean_interval
from kd_asr.evaluation.significance import Estimate, difference, estimate_ratios, holm, mean_estimate, share_of_gain
from kd_asr.jobs.systems import Group
from kd_asr.nearest import did_you_mean
from kd_asr.reporting.compare_results import Row, RunResult, SystemResult, in_order_of, rows_of
from kd_asr.reporting.palette import coloured_groups


@dataclass(frozen=True)
class Measure:
    """A figure of a system on test that can be resampled.

    Attributes:
        name: Key of the figure.
        higher_is_better: Whether a method is better for which it is higher.
        shares: Whether the share of the ensemble's gain is told.
    """

    name: str
    higher_is_better: bool
    shares: bool = False


ACCURACY = Measure("frame_accuracy", higher_is_better=True, shares=True)
CROSS_ENTROPY = Measure("cross_entropy", higher_is_better=False)
WER = Measure("wer", higher_is_better=False, shares=True)
ERRORS = Measure("errors", higher_is_better=False, shares=True)
# The first one is the one that decides, and that the console shows the differences of.
MEASURES = {"speech": (WER, ACCURACY, CROSS_ENTROPY), "digits": (ERRORS, CROSS_ENTROPY)}
CALIBRATION_ERROR = "calibration_error"


def comparison(runs: Sequence[RunResult], against: str) -> dict[str, Any]:
    """All figures of the comparison.

    Args:
        runs: with the same test, see `check_alike`.
        against: name of the group that the others are compared with, in the first run that has it.

    Returns:
        `task`, `source`, `runs`, `utterances`, `against` (key of a row; None without such a group) and `rows`. A row
        has `key`, `label`, `colour`, `role`, `run`, `group`, `systems`, `cost` and by measure `value`, `interval`
        (over utterances), `values` of the systems, `interval_over_seeds`, `share_of_gain` (where there is one) and
        `against` with `over_utterances` and `over_seeds`, whose `p_holm` counts all students' rows. Rates are
        fractions, cross-entropies nats, errors counts.
    """
    rows, task = rows_of(runs), runs[0].task
    compared = next((row for row in rows if row.group.name == against), None)
    found = _by_measure(runs, rows, compared)
    colours = coloured_groups([row.group for row in rows])
    shown = [
        {
            "key": row.key,
            "label": row.label,
            "colour": colour.colour,
            "role": row.group.role,
            "run": row.run.name,
            "group": row.group.name,
            "systems": len(row.results),
            "networks": max(len(system.members) for system in row.run.systems.of_group(row.group)),
            "measures": {**found[row.key], CALIBRATION_ERROR: _calibration(row)},
            "cost": asdict(row.run.costs[row.group.name]),
        }
        for row, colour in zip(rows, _distinct(colours), strict=True)
    ]
    return {
        "task": task,
        "source": runs[0].source,
        "runs": [run.name for run in runs],
        "utterances": len(runs[0].utterance_ids),
        "against": compared.key if compared else None,
        "rows": shown,
    }


def check_group(runs: Sequence[RunResult], name: str) -> None:
    """Refuse the name of a group that no run has.

    Raises:
        UserError: names the nearest one, or all.
    """
    names = list(dict.fromkeys(group.name for run in runs for group in run.systems.groups))
    if name not in names:
        hint = did_you_mean(name, names) or f"; there are: {', '.join(names)}"
        raise UserError(f"--against {name}: no run has such a group{hint}")


def _distinct(groups: Sequence[Group]) -> list[Group]:
    """Groups whose colours all differ: a second one of a colour, from another run, gets a free one."""
    taken: set[str] = set()
    fresh = []
    for group in groups:
        fresh.append(group if group.colour not in taken else Group(group.name, group.label, group.role))
        taken.add(group.colour)
    return coloured_groups(fresh)


def _by_measure(
    runs: Sequence[RunResult], rows: Sequence[Row], compared: Row | None
) -> dict[str, dict[str, dict[str, Any]]]:
    """Figures of every row by measure."""
    found: dict[str, dict[str, dict[str, Any]]] = {row.key: {} for row in rows}
    for measure in MEASURES[runs[0].task]:
        estimates = _estimates(runs, rows, measure)
        means = {key: mean_estimate(each) for key, each in estimates.items()}
        for row in rows:
            values = [one.value for one in estimates[row.key]]
            one: dict[str, Any] = {
                "value": means[row.key].value,
                "interval": list(means[row.key].interval()),
                "values": values,
                "interval_over_seeds": mean_interval(values),
            }
            if measure.shares:
                one["share_of_gain"] = _share(row, rows, means, higher_is_better=measure.higher_is_better)
            if compared is not None and row is not compared:
                over_seeds = mean_difference(values, [other.value for other in estimates[compared.key]])
                one["against"] = {
                    "over_utterances": asdict(difference(means[row.key], means[compared.key])),
                    "over_seeds": asdict(over_seeds) if over_seeds else None,
                }
            found[row.key][measure.name] = one
        _adjust([found[row.key][measure.name] for row in rows if row.group.role == "student"])
    return found


def _adjust(of_students: Sequence[dict[str, Any]]) -> None:
    """Add `p_holm` to the comparisons of all methods' students by one measure, which are a family."""
    for over in ("over_utterances", "over_seeds"):
        family = [one["against"][over] for one in of_students if one.get("against") and one["against"][over]]
        for compared, adjusted in zip(family, holm([one["p_value"] for one in family]), strict=True):
            compared["p_holm"] = adjusted


def _estimates(runs: Sequence[RunResult], rows: Sequence[Row], measure: Measure) -> dict[str, list[Estimate]]:
    """The figure of every system of every row, on the same draws of utterances."""
    orders = {run.name: in_order_of(runs, run) for run in runs}
    counts = [_counts(row.run, result, measure) for row in rows for result in row.results]
    order = [orders[row.run.name] for row in rows for _ in row.results]
    tops = np.array([top[own] for (top, _), own in zip(counts, order, strict=True)])
    bottoms = np.array([bottom[own] for (_, bottom), own in zip(counts, order, strict=True)])
    left = iter(estimate_ratios(tops, bottoms))
    return {row.key: [next(left) for _ in row.results] for row in rows}


def _counts(run: RunResult, result: SystemResult, measure: Measure) -> tuple[NDArray[Any], NDArray[Any]]:
    """Numerator and denominator of a measure, utterance by utterance."""
    if measure is WER:
        assert result.word_errors is not None and run.words is not None
        return result.word_errors, run.words
    scores = result.scores
    if measure is CROSS_ENTROPY:
        return scores.cross_entropy_sum, scores.frames
    if measure is ERRORS:
        # Denominators that sum to 1: the figure is a count of the whole set, also in each draw.
        return scores.frames - scores.correct, scores.frames / scores.frames.sum()
    return scores.correct, scores.frames


def _share(
    row: Row, rows: Sequence[Row], means: Mapping[str, Estimate], *, higher_is_better: bool
) -> dict[str, Any] | None:
    """The share that a student group keeps of what the teacher of its run gains over the reference of its run; these
    may stand in the row of an earlier run."""
    teacher, reference = row.run.systems.teacher, row.run.systems.reference
    if row.group.role != "student" or teacher is None or reference is None:
        return None
    ends = [_row_of(rows, row.run, group) for group in (reference, teacher)]
    return asdict(
        share_of_gain(means[row.key], means[ends[0].key], means[ends[1].key], higher_is_better=higher_is_better)
    )


def _row_of(rows: Sequence[Row], run: RunResult, group: Group) -> Row:
    """The row of a group: its own, or that of the same networks in an earlier run."""
    own = [run.results[system.name].made_of for system in run.systems.of_group(group)]
    same = [row for row in rows if row.group.name == group.name and [one.made_of for one in row.results] == own]
    return same[0]


def _calibration(row: Row) -> dict[str, Any]:
    values = [result.calibration.error for result in row.results]
    return {
        "value": float(np.mean(values)),
        "values": values,
        "interval_over_seeds": mean_interval(values),
    }
