"""The figures of an MNIST run: means and intervals of what the experiments counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kd_asr.evaluation.seeds import mean_interval, ratio_interval
from kd_asr.evaluation.significance import difference, estimate_ratios, mean_estimate, share_of_gain

# Errors of 10,000 (Hinton, Vinyals, Dean 2015, section 3); unseen: on the digits that the transfer set lacks.
PAPER: dict[str, Any] = {
    "citation": "G. Hinton, O. Vinyals, J. Dean, Distilling the Knowledge in a Neural Network, 2015, "
    "arXiv:1503.02531, section 3",
    "table": {"teacher": 67, "hard": 146, "distilled": 74},
    "share_kept": (146 - 74) / (146 - 67),
    "omit3": {"before": 206, "before_unseen": 133, "after": 109, "after_unseen": 14, "bias": 3.5},
    "only78": {"before": 4730, "after": 1320, "bias": 7.6},
}
WIDE = 300  # hidden units from which the paper finds all temperatures above 8 alike
ALIKE_ABOVE = 8.0
NARROW_BEST = (2.5, 4.0)


def repeated(values: Sequence[float]) -> dict[str, Any]:
    """Values of several seeds, their mean, and its 95 % interval (None for one seed)."""
    return {"values": list(values), "mean": float(np.mean(values)), "interval": mean_interval(values)}


def table_figures(errors: Mapping[str, Sequence[int]], wrong: np.ndarray) -> dict[str, Any]:
    """Errors of each system, and the share of the gap between hard student and teacher that the distilled one closes.

    Args:
        errors: system -> test errors of each repetition, in the order of the rows of `wrong`.
        wrong: (repetitions of all systems, images) bool.
    """
    hard, teacher, distilled = (np.asarray(errors[name], dtype=float) for name in ("hard", "teacher", "distilled"))
    gap = float((hard - teacher).mean())
    estimates = iter(estimate_ratios(wrong, np.ones(wrong.shape[1])))
    means = {name: mean_estimate([next(estimates) for _ in values]) for name, values in errors.items()}
    shares = share_of_gain(means["distilled"], means["hard"], means["teacher"], higher_is_better=False)
    return {
        "systems": {name: repeated(values) for name, values in errors.items()},
        "share_kept": {
            "value": float((hard - distilled).mean()) / gap if gap > 0 else None,
            "interval_over_seeds": ratio_interval(hard - distilled, hard - teacher) if gap > 0 else None,
            "interval_over_images": shares.interval,
        },
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
        metrics: of the experiment.
        wrong: (students, dev images) bool, in the order of its rows.
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
        """Mean errors at one temperature less those at the other, with the paired interval over images."""
        one, other = (mean_estimate([estimates[number] for number in of(width, t)]) for t in (first, second))
        found = difference(one, other)
        scale = metrics["dev"]
        return {
            "width": width,
            "temperatures": [first, second],
            "difference": scale * found.value,
            "interval": [scale * end for end in found.interval],
        }

    high = [degrees for degrees in temperatures if degrees > ALIKE_ABOVE]
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
        "errors": [[errors(width, degrees) for degrees in temperatures] for width in widths],
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
                key: repeated([row[key] for row in metrics["rows"] if row["loss"] == name])
                for key in ("dev_errors", "dev_cross_entropy")
            }
            for name in names
        },
        "limit": metrics["limit"],
    }
