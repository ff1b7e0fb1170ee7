"""The map: every form of every group in every precision, by bytes and time against frame accuracy and words, on dev."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kd_asr.artifacts import Artifact
from kd_asr.errors import UserError
from kd_asr.evaluation.significance import estimate_ratios, mean_estimate
from kd_asr.jobs.systems import Group
from kd_asr.shrink.measure import Written, errors_of, scores_of

Cost = Literal["packed", "real_time_factor"]
COSTS: tuple[Cost, ...] = ("packed", "real_time_factor")


@dataclass(frozen=True)
class Row:
    """Networks of a group in a form and a precision, which differ in their seeds: means, on dev.

    Attributes:
        group: Name of the group.
        form: Form of the networks.
        writing: Precision of the weights.
        systems: Names of the systems, in order.
        bytes: Of the files of one system.
        packed: Of the same, deflated.
        weights: Numbers in it that are not 0.
        multiply_adds: For one frame, those with zeros among them.
        real_time_factor: Processor seconds of its networks for a second of speech, in one thread.
        frame_accuracies: By system.
        interval: 95 % interval of their mean, over utterances.
        wers: By system; empty: dev was not recognised.
        wer_interval: 95 % interval of their mean, over utterances.
        fronts: Costs by which no other row is both cheaper and more accurate.
    """

    group: str
    form: str
    writing: str
    systems: tuple[str, ...]
    bytes: float
    packed: float
    weights: float
    multiply_adds: float
    real_time_factor: float
    frame_accuracies: tuple[float, ...]
    interval: tuple[float, float]
    wers: tuple[float, ...] = ()
    wer_interval: tuple[float, float] | None = None
    fronts: tuple[Cost, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What distinguishes it from other rows."""
        return self.group, self.form, self.writing

    @property
    def name(self) -> str:
        """Group, form and precision as one name."""
        return " ".join(self.key)

    @property
    def frame_accuracy(self) -> float:
        """Mean over systems."""
        return float(np.mean(self.frame_accuracies))

    @property
    def wer(self) -> float | None:
        """Mean over systems; None where dev was not recognised."""
        return float(np.mean(self.wers)) if self.wers else None

    def cost(self, cost: Cost) -> float:
        """Packed bytes or real-time factor."""
        return self.packed if cost == "packed" else self.real_time_factor


def rows_of(measured: Mapping[Written, Artifact], groups: Sequence[Group]) -> list[Row]:
    """Rows in the order of the groups, each with its fronts; all intervals are on the same draws of utterances."""
    writtens = list(measured)
    scores = [scores_of(measured[one]) for one in writtens]
    common = [score.select(scores[0].utterance_ids) for score in scores]
    estimates = estimate_ratios([one.correct for one in common], [one.frames for one in common])
    keys = dict.fromkeys(_key(one) for group in groups for one in writtens if one.shrunk.origin.group == group.name)
    rows = []
    for key in keys:
        own = [number for number, one in enumerate(writtens) if _key(one) == key]
        metrics = [measured[writtens[number]].metrics for number in own]

        def mean(name: str, metrics: Sequence[Mapping[str, float]] = metrics) -> float:
            return float(np.mean([one[name] for one in metrics]))

        rows.append(
            Row(
                *key,
                systems=tuple(writtens[number].shrunk.origin.name for number in own),
                bytes=mean("bytes"),
                packed=mean("packed"),
                weights=mean("weights"),
                multiply_adds=mean("multiply_adds"),
                real_time_factor=mean("real_time_factor"),
                frame_accuracies=tuple(estimates[number].value for number in own),
                interval=mean_estimate([estimates[number] for number in own]).interval(),
            )
        )
    return [replace(row, fronts=tuple(cost for cost in COSTS if on_front(row, rows, cost))) for row in rows]


def _key(written: Written) -> tuple[str, str, str]:
    return written.shrunk.origin.group, written.shrunk.form, written.writing


def on_front(row: Row, rows: Sequence[Row], cost: Cost) -> bool:
    """Whether no other row costs at most as much and is more accurate, or is as accurate and costs less."""
    return not any(
        (one.cost(cost) <= row.cost(cost) and one.frame_accuracy > row.frame_accuracy)
        or (one.cost(cost) < row.cost(cost) and one.frame_accuracy == row.frame_accuracy)
        for one in rows
    )


def with_words(rows: Sequence[Row], decoded: Mapping[tuple[str, str, str], Sequence[Artifact]]) -> list[Row]:
    """The rows with word error rates where dev was recognised with all of their systems."""
    made = [artifact for artifacts in decoded.values() for artifact in artifacts]
    if not made:
        return list(rows)
    counts = [errors_of(one) for one in made]
    estimates = iter(estimate_ratios([errors for _, errors, _ in counts], [words for _, _, words in counts]))
    found = {key: [next(estimates) for _ in artifacts] for key, artifacts in decoded.items()}
    return [
        replace(
            row,
            wers=tuple(one.value for one in found[row.key]),
            wer_interval=mean_estimate(found[row.key]).interval(),
        )
        if row.key in found
        else row
        for row in rows
    ]


def best_of(rows: Sequence[Row], *, most_bytes: int | None, most_time: float | None) -> Row:
    """The row of single networks with the highest frame accuracy on dev among those that cost little enough.

    Args:
        rows: of the map.
        most_bytes: largest packed size; None: any.
        most_time: largest real-time factor of the networks; None: any.

    Raises:
        UserError: there is none; says what comes nearest.
    """
    limits: list[tuple[Cost, float, str]] = []
    if most_bytes is not None:
        limits.append(("packed", most_bytes, "--target-bytes"))
    if most_time is not None:
        limits.append(("real_time_factor", most_time, "--target-rtf"))
    fitting = [row for row in rows if all(row.cost(cost) <= limit for cost, limit, _ in limits)]
    if not fitting:
        nearest = []
        for cost, limit, option in limits:
            least = min(rows, key=lambda row: row.cost(cost))
            shown = f"{least.cost(cost):,.0f} bytes" if cost == "packed" else f"a factor of {least.cost(cost):.2g}"
            nearest.append(f"{option} {limit:g}: the smallest is {least.name} with {shown}")
        raise UserError(
            f"no point of the map fits ({'; '.join(nearest)}): allow more, or name smaller forms with --forms, such as "
            "units-25, low-rank-25 or pruned-95, or smaller students with distil.sizes"
        )
    return max(fitting, key=lambda row: row.frame_accuracy)
