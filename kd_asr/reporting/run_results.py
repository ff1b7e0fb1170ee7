"""Readers of the output of stages: scores, decoded words, training histories, rejected utterances."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_asr.corpora.manifest import Rejected
from kd_asr.errors import UserError
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.evaluation.wer import AlignedWords, align_words

HISTORY_FIELDS = ("update", "epoch", "train_loss", "losses", "dev_accuracy", "dev_cross_entropy")


@dataclass(frozen=True)
class DecodedUtterance:
    """One utterance of one system.

    Attributes:
        utterance_id: Id of the utterance.
        aligned: Reference and hypothesis side by side, with the errors.
        seconds: Length of the audio.
        search_seconds: Time of the beam search.
    """

    utterance_id: str
    aligned: AlignedWords
    seconds: float
    search_seconds: float


def _json_lines(path: Path) -> Iterable[tuple[int, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: delete {path.parent} and run its stage again") from error
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error})") from error


def read_decoded(path: Path) -> list[DecodedUtterance]:
    """Read the hypotheses of one system for one set, and align them with their references.

    Raises:
        UserError: the file is missing, or a line is no such record; names file and line.
    """
    decoded = []
    for number, fields in _json_lines(path):
        try:
            decoded.append(
                DecodedUtterance(
                    fields["utterance_id"],
                    align_words(fields["reference"], fields["hypothesis"]),
                    float(fields["seconds"]),
                    float(fields["search_seconds"]),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}, line {number}: not a decoded utterance ({error!r})") from error
    return decoded


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read the training curve of one network.

    Raises:
        UserError: the file is missing, or a line lacks a field; names file and line.
    """
    history = []
    for number, fields in _json_lines(path):
        lacking = [name for name in HISTORY_FIELDS if name not in fields]
        if lacking:
            raise UserError(f"{path}, line {number}: {', '.join(lacking)} missing")
        history.append(fields)
    return history


def read_rejected(files: Iterable[Path]) -> list[Rejected]:
    """Utterances rejected by any stage, each once per stage."""
    rejected: dict[tuple[str, str, str], Rejected] = {}
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            fields = line.split("\t")
            if len(fields) != 4:
                raise UserError(f"{file}, line {number}: expected 4 tab-separated fields, found {len(fields)}")
            if number > 1:
                entry = Rejected(*fields)
                rejected.setdefault((entry.stage, entry.utterance_id, entry.path), entry)
    return list(rejected.values())


def count_rejected(rejected: Iterable[Rejected]) -> list[dict[str, Any]]:
    """Counts by stage and kind of reason, most frequent first within a stage, each with up to three examples.

    Reasons that differ only in numbers or in text in brackets or quotes are of the same kind.
    """
    by_kind: dict[tuple[str, str], list[str]] = {}
    for entry in rejected:
        kind = re.sub(r"\s*\([^)]*\)|\s*'[^']*'|\s*\"[^\"]*\"", "", entry.reason)
        kind = re.sub(r"\d+(?:\.\d+)?", "N", kind).strip() or entry.reason
        by_kind.setdefault((entry.stage, kind), []).append(entry.utterance_id or entry.path)
    order = {stage: number for number, (stage, _) in reversed(list(enumerate(by_kind)))}
    rows = sorted(by_kind.items(), key=lambda item: (order[item[0][0]], -len(item[1]), item[0][1]))
    return [
        {"stage": stage, "reason": reason, "count": len(names), "examples": names[:3]}
        for (stage, reason), names in rows
    ]


def paired_scores(
    by_system: Mapping[str, FrameScores], systems: Sequence[str], set_name: str
) -> dict[str, FrameScores]:
    """Scores of some systems with the utterances in the same order, for paired comparisons.

    Raises:
        UserError: the systems were not scored on the same utterances and frames.
    """
    first = by_system[systems[0]]
    paired = {}
    for name in systems:
        scores = by_system[name]
        if set(scores.utterance_ids) != set(first.utterance_ids):
            raise UserError(
                f"{name} and {systems[0]} were scored on different utterances of {set_name}: run `evaluate` again"
            )
        paired[name] = scores.select(first.utterance_ids)
        if paired[name].frames.tolist() != first.frames.tolist():
            raise UserError(
                f"{name} and {systems[0]} were scored on different frames of {set_name}: run `evaluate` again"
            )
    return paired


def paired_decoded(
    by_system: Mapping[str, Sequence[DecodedUtterance]], set_name: str
) -> dict[str, list[DecodedUtterance]]:
    """Decoded utterances of all systems in the order of the first.

    Raises:
        UserError: the systems were not decoded on the same utterances.
    """
    names = list(by_system)
    order = [one.utterance_id for one in by_system[names[0]]]
    paired = {}
    for name in names:
        position = {one.utterance_id: one for one in by_system[name]}
        if position.keys() != set(order) or len(by_system[name]) != len(order):
            raise UserError(
                f"{name} and {names[0]} were decoded on different utterances of {set_name}: run `decode` again"
            )
        paired[name] = [position[utterance_id] for utterance_id in order]
    return paired
