"""Figures of a report, computed from counts per utterance: one plain dictionary for tables and plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.evaluation.significance import (
    Estimate,
    difference,
    estimate_ratios,
    mean_estimate,
    share_of_gain,
    sum_by_group,
)
from kd_asr.evaluation.wer import total_errors
from kd_asr.jobs.systems import Group, Systems
from kd_asr.reporting.run_results import DecodedUtterance


def mean_and_spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, and standard deviation with n - 1 (None for a single value)."""
    return {
        "mean": float(np.mean(values)),
        "standard_deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "count": len(values),
    }


def frame_figures(scores: FrameScores) -> dict[str, Any]:
    """Frame accuracy (0..1) and cross-entropy (nats) of one system on one set."""
    return {
        "frame_accuracy": scores.frame_accuracy,
        "cross_entropy": scores.cross_entropy,
        "frames": int(scores.frames.sum()),
        "utterances": len(scores.utterance_ids),
    }


def word_figures(decoded: Sequence[DecodedUtterance]) -> dict[str, Any]:
    """WER (0..) of one system on one set, and its kinds of errors."""
    total = total_errors(one.aligned.errors for one in decoded)
    return {
        "wer": total.wer,
        "substitutions": total.substitutions,
        "deletions": total.deletions,
        "insertions": total.insertions,
        "reference_words": total.reference_words,
        "utterances": len(decoded),
    }


def mean_figures(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean over systems of every field, also in nested mappings."""
    return {
        name: mean_figures([one[name] for one in each])
        if isinstance(each[0][name], Mapping)
        else float(np.mean([one[name] for one in each]))
        for name in each[0]
    }


def frame_estimates(
    scores: Mapping[str, FrameScores], systems: Systems, speakers: Sequence[str] | None = None
) -> dict[str, Estimate]:
    """Mean frame accuracy of each group's systems, all on the same draws of utterances (or of speakers)."""
    names = [system.name for system in systems.systems]
    return _estimates(
        systems,
        np.array([scores[name].correct for name in names]),
        np.array([scores[name].frames for name in names]),
        speakers,
    )


def word_estimates(
    decoded: Mapping[str, Sequence[DecodedUtterance]], systems: Systems, speakers: Sequence[str] | None = None
) -> dict[str, Estimate]:
    """Mean WER of each group's systems, all on the same draws of utterances (or of speakers)."""
    names = [system.name for system in systems.systems]
    return _estimates(
        systems,
        np.array([[one.aligned.errors.errors for one in decoded[name]] for name in names]),
        np.array([[one.aligned.errors.reference_words for one in decoded[name]] for name in names]),
        speakers,
    )


def _estimates(
    systems: Systems, numerators: np.ndarray, denominators: np.ndarray, speakers: Sequence[str] | None
) -> dict[str, Estimate]:
    if speakers is not None:
        numerators, denominators = sum_by_group(numerators, speakers), sum_by_group(denominators, speakers)
    names = [system.name for system in systems.systems]
    found = dict(zip(names, estimate_ratios(numerators, denominators), strict=True))
    return {
        group.name: mean_estimate([found[system.name] for system in systems.of_group(group)])
        for group in systems.groups
    }


def comparison_key(first: Group, second: Group) -> str:
    """Key of the difference of two groups' figures, such as `ensemble - baseline`."""
    return f"{first.name} - {second.name}"


def comparisons(estimates: Mapping[str, Estimate], systems: Systems) -> dict[str, Any]:
    """Paired differences of the groups."""
    return {
        comparison_key(first, second): asdict(difference(estimates[first.name], estimates[second.name]))
        for first, second in systems.comparisons
    }


def gain_kept(estimates: Mapping[str, Estimate], systems: Systems, *, higher_is_better: bool) -> dict[str, Any]:
    """Share of the teacher's gain over the reference that each student group keeps; empty without teacher or
    reference."""
    reference, teacher = systems.reference, systems.teacher
    if reference is None or teacher is None:
        return {}
    return {
        student.name: asdict(
            share_of_gain(
                estimates[student.name],
                estimates[reference.name],
                estimates[teacher.name],
                higher_is_better=higher_is_better,
            )
        )
        for student in systems.students
    }


def run_figures(
    systems: Systems,
    scores: Mapping[str, Mapping[str, FrameScores]],
    decoded: Mapping[str, Mapping[str, Sequence[DecodedUtterance]]],
    members: Mapping[str, Mapping[str, FrameScores]],
    speaker: Callable[[str], str],
) -> dict[str, Any]:
    """All figures of the report on frames and words.

    Args:
        systems: compared systems.
        scores: scores by set and system, with the utterances in the same order.
        decoded: decoded utterances by set (dev, test) and system, in the same order.
        members: scores, or their totals, of the networks of combined systems, by network (`Systems.scored_as`) and
            set.
        speaker: returns the speaker of an utterance, for the intervals over speakers.

    Returns:
        `systems`: group -> figures per set, means over its systems, with intervals on dev and test; `networks`: group
        -> system -> its own figures, and their `spread` by group; `members` and `member_frame_accuracy`: group of
        combined systems -> figures of their networks alone; `comparisons` per set and measure; `share_of_gain` per set
        and measure, by student group; `by_speaker`: the same comparisons on test with whole speakers drawn. Rates are
        fractions, cross-entropies nats.
    """
    names = {group.name: [system.name for system in systems.of_group(group)] for group in systems.groups}
    each: dict[str, dict[str, Any]] = {system.name: {} for system in systems.systems}
    for set_name, by_system in scores.items():
        for name, own in each.items():
            own[set_name] = frame_figures(by_system[name])
    for set_name, by_decoder in decoded.items():
        for name, own in each.items():
            own[set_name] |= word_figures(by_decoder[name])
    means = {group: mean_figures([each[name] for name in seeds]) for group, seeds in names.items()}
    compared: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for set_name, by_decoder in decoded.items():
        measures = {
            "frame_accuracy": (frame_estimates(scores[set_name], systems), True),
            "wer": (word_estimates(by_decoder, systems), False),
        }
        compared[set_name], kept[set_name] = {}, {}
        for measure, (estimates, higher_is_better) in measures.items():
            for group, estimate in estimates.items():
                means[group][set_name][f"{measure}_interval"] = list(estimate.interval())
            compared[set_name][measure] = comparisons(estimates, systems)
            kept[set_name][measure] = gain_kept(estimates, systems, higher_is_better=higher_is_better)
    first = systems.systems[0].name
    speakers_of_frames = [speaker(name) for name in scores["test"][first].utterance_ids]
    speakers = [speaker(one.utterance_id) for one in decoded["test"][first]]
    of_members = {
        group.name: {
            systems.scored_as(member): {
                set_name: one.frame_accuracy for set_name, one in members[systems.scored_as(member)].items()
            }
            for system in systems.of_group(group)
            for member in system.members
        }
        for group in systems.groups
        if systems.is_combined(group)
    }
    return {
        "systems": means,
        "networks": {group: {name: each[name] for name in seeds} for group, seeds in names.items()},
        "spread": {
            group: {
                set_name: {
                    measure: mean_and_spread([each[name][set_name][measure] for name in seeds])
                    for measure in ("frame_accuracy", "cross_entropy", "wer")
                    if measure in each[seeds[0]][set_name]
                }
                for set_name in scores
            }
            for group, seeds in names.items()
        },
        "members": {
            group: {set_name: mean_and_spread([one[set_name] for one in by_member.values()]) for set_name in scores}
            for group, by_member in of_members.items()
        },
        "member_frame_accuracy": of_members,
        "comparisons": compared,
        "share_of_gain": kept,
        "by_speaker": {
            "speakers": len(set(speakers)),
            "frame_accuracy": comparisons(frame_estimates(scores["test"], systems, speakers_of_frames), systems),
            "wer": comparisons(word_estimates(decoded["test"], systems, speakers), systems),
        },
    }
