"""What a comparison reads from finished runs: the systems of each with their scores on test and their costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_asr.errors import UserError
from kd_asr.evaluation.calibration import Calibration
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.jobs.costs import Cost
from kd_asr.jobs.systems import Group, Systems


@dataclass(frozen=True, eq=False)
class SystemResult:
    """A system on test.

    Attributes:
        scores: Counts by utterance, in the order of `RunResult.utterance_ids`; on digits every image is an utterance.
        calibration: Labels by confidence.
        word_errors: (utterances,) int64; None on digits.
        made_of: Fingerprints of everything that decides these figures.
    """

    scores: FrameScores
    calibration: Calibration
    word_errors: NDArray[np.int64] | None
    made_of: tuple[str, ...]


@dataclass(frozen=True)
class GroupCost:
    """What the systems of a group cost.

    Attributes:
        training: Mean over systems, without the teachers.
        with_teachers: Mean over systems, with everything that they learnt from.
        parameters: Of one system.
        bytes: Of the files of one system's networks.
        multiply_adds: Of one system for one frame or image.
        network_real_time_factor: Seconds of its networks for a second of test, mean over systems; None: not measured.
        search_real_time_factor: Seconds of its search for a second of test, mean over systems; None: not measured.
    """

    training: Cost
    with_teachers: Cost
    parameters: int
    bytes: int
    multiply_adds: float
    network_real_time_factor: float | None = None
    search_real_time_factor: float | None = None


@dataclass(frozen=True, eq=False)
class RunResult:
    """A finished run.

    Attributes:
        name: Name of the run, unlike that of any other run.
        task: `speech` or `digits`.
        source: Name of the corpus.
        systems: Compared systems.
        results: Test results by system.
        costs: Costs by group.
        utterance_ids: Utterances of test.
        frames: (utterances,) int64, scored frames of each.
        words: (utterances,) int64, reference words of each; None on digits.
        labels: Checksums of the files with the labels of test.
    """

    name: str
    task: str
    source: str
    systems: Systems
    results: Mapping[str, SystemResult]
    costs: Mapping[str, GroupCost]
    utterance_ids: tuple[str, ...]
    frames: NDArray[np.int64]
    words: NDArray[np.int64] | None
    labels: Any


@dataclass(frozen=True)
class Row:
    """A group of a run, and its name and label in the comparison."""

    key: str
    label: str
    run: RunResult
    group: Group

    @property
    def results(self) -> list[SystemResult]:
        """Results of its systems, in order."""
        return [self.run.results[system.name] for system in self.run.systems.of_group(self.group)]


def check_alike(runs: Sequence[RunResult]) -> None:
    """Refuse runs whose figures are of different tests.

    Raises:
        UserError: names the two runs and what differs.
    """
    first, *others = runs
    for other in others:
        found = _difference(first, other)
        if found:
            raise UserError(f"{first.name} and {other.name} cannot be compared: {found}")


def _difference(one: RunResult, other: RunResult) -> str:
    """What keeps two runs from being compared; empty: nothing."""
    if one.task != other.task:
        return f"one is of {one.task}, the other of {other.task}"
    apart = set(one.utterance_ids) ^ set(other.utterance_ids)
    if apart:
        total = len(set(one.utterance_ids) | set(other.utterance_ids))
        return f"{len(apart)} of {total} utterances are in the test set of one of them only, such as {min(apart)}"
    order = _order(one, other)
    for what, own, others in (("words", one.words, other.words), ("frames", one.frames, other.frames)):
        if own is not None and others is not None and own.tolist() != others[order].tolist():
            where = one.utterance_ids[int(np.flatnonzero(own != others[order])[0])]
            return f"the utterance {where} of test has other {what}"
    if one.labels != other.labels:
        return (
            "the labels of test differ, so they were aligned in different ways"
            if one.words is not None
            else ("the images of test or their labels differ")
        )
    return ""


def _order(one: RunResult, other: RunResult) -> list[int]:
    """Places, in the other run, of the utterances of the first."""
    place = {name: number for number, name in enumerate(other.utterance_ids)}
    return [place[name] for name in one.utterance_ids]


def rows_of(runs: Sequence[RunResult]) -> list[Row]:
    """Every group of every run once: a group of a later run with the same networks and the same figures as an earlier
    one is left out, and a label that two groups share has the name of the run after it."""
    labels = [group.label for run in runs for group in run.systems.groups]
    known: set[tuple[Any, ...]] = set()
    kept: list[tuple[RunResult, Group]] = []
    for run, group in _groups(runs):
        made_of = tuple(run.results[system.name].made_of for system in run.systems.of_group(group))
        if (group.name, made_of) not in known:
            known.add((group.name, made_of))
            kept.append((run, group))
    labels = [group.label for _, group in kept]
    return [
        Row(
            f"{run.name}/{group.name}",
            group.label if labels.count(group.label) == 1 else f"{group.label}, {run.name}",
            run,
            group,
        )
        for run, group in kept
    ]


def _groups(runs: Sequence[RunResult]) -> Iterator[tuple[RunResult, Group]]:
    for run in runs:
        for group in run.systems.groups:
            yield run, group


def in_order_of(runs: Sequence[RunResult], run: RunResult) -> list[int]:
    """Places, in a run, of the utterances of the first of all runs."""
    return _order(runs[0], run)
