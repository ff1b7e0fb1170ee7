"""The figures of a report, computed from per-utterance counts: one plain dictionary that tables and plots read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from kd_asr.reporting.run_results import DecodedUtterance

BASELINE, ENSEMBLE, DISTILLED = "baseline", "ensemble", "distilled"
SYSTEMS = (BASELINE, ENSEMBLE, DISTILLED)
COMPARISONS = ((ENSEMBLE, BASELINE), (DISTILLED, BASELINE), (DISTILLED, ENSEMBLE))


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
    """WER (0..) and its parts of one system on one set."""
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
    """Field by field, the mean over systems; nested mappings too."""
    return {
        name: mean_figures([one[name] for one in each])
        if isinstance(each[0][name], Mapping)
        else float(np.mean([one[name] for one in each]))
        for name in each[0]
    }


def networks_of_systems(names: Iterable[str]) -> dict[str, list[str]]:
    """What each system of the comparison is the mean of, of networks called `baseline-00`, `student-00` and so on."""
    ordered = list(names)
    starts = {BASELINE: "baseline-", ENSEMBLE: ENSEMBLE, DISTILLED: "student-"}
    return {system: [name for name in ordered if name.startswith(start)] for system, start in starts.items()}


def frame_estimates(scores: Mapping[str, FrameScores], groups: Sequence[str] | None = None) -> dict[str, Estimate]:
    """Frame accuracies of mean baseline, ensemble and mean student on the same draws of utterances (or of `groups`)."""
    names = list(scores)
    return _estimates(
        names,
        np.array([scores[name].correct for name in names]),
        np.array([scores[name].frames for name in names]),
        groups,
    )


def word_estimates(
    decoded: Mapping[str, Sequence[DecodedUtterance]], groups: Sequence[str] | None = None
) -> dict[str, Estimate]:
    """WERs of mean baseline, ensemble and mean student on the same draws of utterances (or of `groups`)."""
    names = list(decoded)
    return _estimates(
        names,
        np.array([[one.aligned.errors.errors for one in decoded[name]] for name in names]),
        np.array([[one.aligned.errors.reference_words for one in decoded[name]] for name in names]),
        groups,
    )


def _estimates(
    names: Sequence[str], numerators: np.ndarray, denominators: np.ndarray, groups: Sequence[str] | None
) -> dict[str, Estimate]:
    if groups is not None:
        numerators, denominators = sum_by_group(numerators, groups), sum_by_group(denominators, groups)
    found = dict(zip(names, estimate_ratios(numerators, denominators), strict=True))
    return {
        system: mean_estimate([found[name] for name in networks])
        for system, networks in networks_of_systems(names).items()
    }


def comparisons(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """Paired differences, keyed as `ensemble - baseline`."""
    return {
        f"{first} - {second}": asdict(difference(estimates[first], estimates[second])) for first, second in COMPARISONS
    }


def gain_kept(estimates: Mapping[str, Estimate], *, higher_is_better: bool) -> dict[str, Any]:
    """The share of the ensemble's gain that the mean student keeps."""
    return asdict(
        share_of_gain(
            estimates[DISTILLED], estimates[BASELINE], estimates[ENSEMBLE], higher_is_better=higher_is_better
        )
    )


def run_figures(
    scores: Mapping[str, Mapping[str, FrameScores]],
    decoded: Mapping[str, Mapping[str, Sequence[DecodedUtterance]]],
    members: Mapping[str, Mapping[str, FrameScores]],
    speaker: Callable[[str], str],
) -> dict[str, Any]:
    """Everything the report says of frames and words.

    Args:
        scores: set -> network (the baselines, `ensemble` and the students) -> scores, utterances in the same order.
        decoded: set (dev, test) -> the same networks -> utterances in the same order.
        members: member -> set -> scores, which may be totals.
        speaker: of an utterance, for the intervals over speakers.

    Returns:
        `systems`: figures per set of `baseline` (the mean over baselines), `ensemble` and `distilled` (over students),
        with intervals on dev and test; `networks`: of each baseline and student, and their `spread` by system;
        `members`; `comparisons`, `share_of_gain` per set and measure; `by_speaker`: the same comparisons on test with
        whole speakers drawn. Rates are fractions, cross-entropies nats.
    """
    networks = networks_of_systems(scores["test"])
    each: dict[str, dict[str, Any]] = {name: {} for names in networks.values() for name in names}
    compared: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for set_name, by_system in scores.items():
        for name, one in by_system.items():
            each[name][set_name] = frame_figures(one)
    for set_name, by_decoder in decoded.items():
        for name, utterances in by_decoder.items():
            each[name][set_name] |= word_figures(utterances)
    systems = {system: mean_figures([each[name] for name in names]) for system, names in networks.items()}
    for set_name, by_decoder in decoded.items():
        measures = {
            "frame_accuracy": (frame_estimates(scores[set_name]), True),
            "wer": (word_estimates(by_decoder), False),
        }
        compared[set_name], kept[set_name] = {}, {}
        for measure, (estimates, higher_is_better) in measures.items():
            for name, estimate in estimates.items():
                systems[name][set_name][f"{measure}_interval"] = list(estimate.interval())
            compared[set_name][measure] = comparisons(estimates)
            kept[set_name][measure] = gain_kept(estimates, higher_is_better=higher_is_better)
    speakers_of_frames = [speaker(name) for name in scores["test"][ENSEMBLE].utterance_ids]
    speakers = [speaker(one.utterance_id) for one in decoded["test"][ENSEMBLE]]
    return {
        "systems": systems,
        "networks": {system: {name: each[name] for name in networks[system]} for system in (BASELINE, DISTILLED)},
        "spread": {
            system: {
                set_name: {
                    measure: mean_and_spread([each[name][set_name][measure] for name in networks[system]])
                    for measure in ("frame_accuracy", "cross_entropy", "wer")
                    if measure in each[ENSEMBLE][set_name]
                }
                for set_name in scores
            }
            for system in (BASELINE, DISTILLED)
        },
        "members": {
            set_name: mean_and_spread([member[set_name].frame_accuracy for member in members.values()])
            for set_name in scores
        },
        "member_frame_accuracy": {
            name: {set_name: one.frame_accuracy for set_name, one in member.items()} for name, member in members.items()
        },
        "comparisons": compared,
        "share_of_gain": kept,
        "by_speaker": {
            "speakers": len(set(speakers)),
            "frame_accuracy": comparisons(frame_estimates(scores["test"], speakers_of_frames)),
            "wer": comparisons(word_estimates(decoded["test"], speakers)),
        },
    }
