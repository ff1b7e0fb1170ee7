"""Figures of an MNIST run: means and intervals of the experiments' counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kd_asr.evaluation.seeds import mean_interval, ratio_interval
from kd_asr.evaluation.significance import Estimate, difference, estimate_ratios, mean_estimate, share_of_gain
from kd_asr.jobs.systems import Group, Systems

# Errors on 10,000 images (Hinton, Vinyals, Dean 2015, section 3); unseen: on the digits missing from the transfer set.
PAPER: dict[str, Any] = {
    "citation": "G. Hinton, O. Vinyals, J. Dean, Distilling the Knowledge in a Neural Network, 2015, "
    "arXiv:1503.02531, section 3",
    # Names chosen here, since the paper has no table; `Group.paper` refers to them.
    "rows": {"large network": 67, "small network, hard labels": 146, "small network, distilled": 74},
    "share_kept": (146 - 74) / (146 - 67),
    "omit3": {"before": 206, "before_unseen": 133, "after": 109, "after_unseen": 14, "bias": 3.5},
    "only78": {"before": 4730, "after": 1320, "bias": 7.6},
}
WIDE = 300  # hidden units from which the paper finds all temperatures above 8 alike
ALIKE_ABOVE = 8.0
NARROW_BEST = (2.5, 4.0)


def paper_beside(systems: Systems | None) -> dict[str, Any]:
    """The paper's figures for a report; those of the table by the name of the group that they are shown beside."""
    groups = () if systems is None else systems.groups
    table = {group.name: PAPER["rows"][group.paper] for group in groups if group.paper}
    return {**{key: value for key, value in PAPER.items() if key != "rows"}, "table": table}


def repeated(values: Sequence[float]) -> dict[str, Any]:
    """Values of several seeds with their mean and its 95 % interval (None for one seed)."""
    return {"values": list(values), "mean": float(np.mean(values)), "interval": mean_interval(values)}


def table_figures(systems: Systems, errors: Mapping[str, Sequence[int]], wrong: np.ndarray) -> dict[str, Any]:
    """Errors of each group, and the share of the gap between reference and teacher that each student group closes.

    Args:
        systems: compared systems.
        errors: test errors of the systems of each group.
        wrong: (systems, images) bool, which images each system got wrong.
    """
    found = estimate_ratios(wrong, np.ones(wrong.shape[1]))
    estimates = dict(zip((system.name for system in systems.systems), found, strict=True))
    means = {
        group.name: mean_estimate([estimates[system.name] for system in systems.of_group(group)])
        for group in systems.groups
    }
    reference, teacher = systems.reference, systems.teacher
    shares = {}
    if reference is not None and teacher is not None:
        shares = {group.name: _share(group, reference, teacher, errors, means) for group in systems.students}
    return {"systems": {name: repeated(values) for name, values in errors.items()}, "share_kept": shares}


def _share(
    student: Group,
    reference: Group,
    teacher: Group,
    errors: Mapping[str, Sequence[int]],
    means: Mapping[str, Estimate],
) -> dict[str, Any]:
    """The share of the gap that a student group closes, over as many seeds as all three have."""
    seeds = min(len(errors[group.name]) for group in (student, reference, teacher))
    own, hard, taught = (
        np.asarray(errors[group.name][:seeds], dtype=float) for group in (student, reference, teacher)
    )
    gap = float((hard - taught).mean())
    over_images = share_of_gain(
        means[student.name], means[reference.name], means[teacher.name], higher_is_better=False
    )
    return {
        "value": float((hard - own).mean()) / gap if gap > 0 else None,
        "interval_over_seeds": ratio_interval(hard - own, hard - taught) if gap > 0 else None,
        "interval_over_images": over_images.interval,
    }


def transfer_figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Means over the students of `omit3` or `only78`, before and after each correction."""
    stages = {
        name: {
            key: repeated([student[name][key] for student in metrics["students"]])
            for key in ("errors", "errors_on_unseen")
        }
        for name in ("before", "corrected_on_dev", "corrected_on_test")
    }
    biases = [student["bias_fitted_on_test"] for student in metrics["students"]]
    return {**metrics, "stages": stages, "bias_fitted_on_test": repeated(biases)}


def temperature_figures(metrics: Mapping[str, Any], wrong: np.ndarray) -> dict[str, Any]:
    """Mean dev errors by width and temperature, and whether the paper's two remarks hold.

    Args:
        metrics: metrics of the experiment.
        wrong: (students, dev images) bool, errors of each student in the order of the metrics' rows.
    """
    rows = metrics["rows"]
    widths = sorted({row["width"] for row in rows})
    temperatures = sorted({row["temperature"] for row in rows})
    estimates = estimate_ratios(wrong, np.ones(wrong.shape[1]))

    def of(width: int, temperature: float) -> list[int]:
        return [
            number
            for number, row in enumerate(rows)
            if row["width"] == width and row["temperature"] == temperature
        ]

    def errors(width: int, temperature: float) -> float:
        return float(np.mean([rows[number]["dev_errors"] for number in of(width, temperature)]))

    def compare(width: int, first: float, second: float) -> dict[str, Any]:
        """Mean errors at one temperature minus those at another, with the paired interval over images."""
        one, other = (mean_estimate([estimates[number] for number in of(width, t)]) for t in (first, second))
        found = difference(one, other)
        scale = metrics["dev"]
        return {
            "width": width,
            "temperatures": [first, second],
            "difference": scale * found.value,
            "interval": [scale * end for end in found.interval],
        }

    high = [temperature for temperature in temperatures if temperature > ALIKE_ABOVE]
    wide = []
    for width in widths:
        if width >= WIDE and len(high) > 1:
            worst, best = max(high, key=lambda t: errors(width, t)), min(high, key=lambda t: errors(width, t))
            wide.append(compare(width, worst, best) if worst != best else compare(width, high[-1], high[0]))
    narrow = widths[0]
    best_temperature = min(temperatures, key=lambda t: errors(narrow, t))
    others = [t for t in temperatures if not NARROW_BEST[0] <= t <= NARROW_BEST[1]]
    return {
        "dev": metrics["dev"],
        "widths": widths,
        "temperatures": temperatures,
        "students": {str(width): len(of(width, temperatures[0])) for width in widths},
        "errors": [[errors(width, temperature) for temperature in temperatures] for width in widths],
        "wide": wide,
        "narrow": {
            "width": narrow,
            "best": best_temperature,
            "holds": NARROW_BEST[0] <= best_temperature <= NARROW_BEST[1],
            "others": [compare(narrow, other, best_temperature) for other in others if other != best_temperature],
        },
    }


def losses_figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Dev errors and cross-entropy of the students of each loss, and the limit of high temperature."""
    names = list(dict.fromkeys(row["loss"] for row in metrics["rows"]))
    return {
        "dev": metrics["dev"],
        "temperature": metrics["temperature"],
        "losses": {
            name: {
                "label": next(row["label"] for row in metrics["rows"] if row["loss"] == name),
                **{
                    key: repeated([row[key] for row in metrics["rows"] if row["loss"] == name])
                    for key in ("dev_errors", "dev_cross_entropy")
                },
            }
            for name in names
        },
        "limit": metrics["limit"],
    }
