"""Figures of the reduced-data experiment: accuracy and WER of each way of learning by fraction of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_asr.evaluation.seeds import mean_interval
from kd_asr.evaluation.significance import Estimate, difference, estimate_ratios, mean_estimate
from kd_asr.jobs.systems import Group

PAPER_ROWS: tuple[dict[str, Any], ...] = (
    {"fraction": 1.0, "label": "hard labels, stopped early on dev", "train": 0.634, "test": 0.589},
    {"fraction": 0.03, "label": "hard labels, stopped early on dev", "train": 0.673, "test": 0.445},
    {"fraction": 0.03, "label": "soft targets, to the end", "train": 0.654, "test": 0.570},
)
PAPER = {
    "citation": "Hinton, Vinyals, Dean 2015, arXiv:1503.02531, Table 5",
    "setting": "3 % of about 2000 hours; teacher trained on all of it",
    "rows": PAPER_ROWS,
}

# (fraction, kind) -> counts of every repetition: (repetitions, utterances)
Counts = Mapping[tuple[float, str], NDArray[np.int64]]


def counts_by_key(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[Group], of_rows: Sequence[NDArray[Any]]
) -> dict[tuple[float, str], NDArray[np.int64]]:
    """Counts of every repetition by (fraction, group), fractions ascending, groups in order.

    Args:
        rows: rows of the stage's manifest, one per system and repetition.
        groups: compared groups.
        of_rows: (utterances,) counts of each row.
    """
    found = {
        (fraction, group.name): [
            np.asarray(counts, dtype=np.int64)
            for row, counts in zip(rows, of_rows, strict=True)
            if (row["fraction"], row["kind"]) == (fraction, group.name)
        ]
        for fraction in sorted({row["fraction"] for row in rows})
        for group in groups
    }
    return {key: np.stack(counts) for key, counts in found.items() if counts}


def _estimates(errors: Counts, totals: NDArray[np.int64]) -> dict[tuple[float, str], Estimate]:
    """Mean of each system over its repetitions, all on the same draws of utterances."""
    keys = list(errors)
    found = estimate_ratios(np.concatenate([errors[key] for key in keys]), totals)
    estimates, first = {}, 0
    for key in keys:
        count = len(errors[key])
        estimates[key] = mean_estimate(found[first : first + count])
        first += count
    return estimates


def reduced_figures(
    rows: Sequence[Mapping[str, Any]],
    groups: Sequence[Group],
    correct: Counts,
    frames: NDArray[np.int64],
    *,
    word_errors: Counts | None = None,
    words: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Figures of every fraction and group, and the share of the loss that soft targets recover.

    Args:
        rows: rows of the stage's manifest, one per system and repetition.
        groups: compared groups; those with the role `student` are compared with the one with the role `reference`.
        correct: correct frames of test; or correct test images, each an utterance of one frame.
        frames: (utterances,) frames of test.
        word_errors: word errors on test; None where there are no words.
        words: (utterances,) reference words of test.

    Returns:
        `systems`: for each fraction and group the means over repetitions, their values, and the interval of the test
        figures over utterances; `comparisons`: for each fraction every student group against the reference.
    """
    accuracy = _estimates(correct, frames)
    wer = {} if word_errors is None or words is None else _estimates(word_errors, words)
    reference = next((group.name for group in groups if group.role == "reference"), None)
    students = {group.name for group in groups if group.role == "student"}
    full = None if reference is None else accuracy.get((1.0, reference))
    systems, comparisons = [], []
    for fraction, kind in correct:
        own = [row for row in rows if (row["fraction"], row["kind"]) == (fraction, kind)]
        of_repetitions = {
            "test_frame_accuracy": (correct[fraction, kind].sum(axis=1) / frames.sum()).tolist(),
            "part_frame_accuracy": [row["part"]["frame_accuracy"] for row in own],
            "dev_frame_accuracy": [row["dev"]["frame_accuracy"] for row in own],
            "dev_cross_entropy": [row["dev"]["cross_entropy"] for row in own],
        }
        if word_errors is not None and words is not None:
            of_repetitions["test_wer"] = (word_errors[fraction, kind].sum(axis=1) / words.sum()).tolist()
        here = accuracy[fraction, kind]
        systems.append(
            {
                "fraction": fraction,
                "kind": kind,
                **{
                    name: {
                        "mean": float(np.mean(values)),
                        "values": values,
                        "interval_over_repetitions": mean_interval(values),
                    }
                    for name, values in of_repetitions.items()
                },
                "test_frame_accuracy_interval": here.interval(),
                **(
                    {"test_wer_interval": wer[fraction, kind].interval(), "choice": own[0]["choice"]} if wer else {}
                ),
                "share_of_all_labels": None if full is None else here.value / full.value,
            }
        )
        if kind not in students or reference is None or (fraction, reference) not in accuracy:
            continue
        stopped = accuracy[fraction, reference]
        frames_apart = difference(here, stopped)
        lost = None if full is None or fraction == 1.0 else full.value - stopped.value
        comparisons.append(
            {
                "fraction": fraction,
                "kind": kind,
                "frame_accuracy": _plain(frames_apart),
                **({"wer": _plain(difference(wer[fraction, kind], wer[fraction, reference]))} if wer else {}),
                "won_back": frames_apart.value / lost if lost is not None and lost > 0 else None,
            }
        )
    return {"systems": systems, "comparisons": comparisons}


def _plain(found: Any) -> dict[str, Any]:
    return {"value": found.value, "interval": found.interval, "p_value": found.p_value}
