"""A finished run on speech, as a comparison reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.artifacts import Artifact, load_artifact, read_json
from kd_asr.corpora.base import corpus_of
from kd_asr.errors import UserError
from kd_asr.evaluation.calibration import Calibration
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.experiments.comparison.costs import NetworkCosts, checksums, group_cost, labels_of
from kd_asr.jobs.costs import Costs
from kd_asr.jobs.job import Job
from kd_asr.jobs.systems import Group, Systems
from kd_asr.networks.operations import on_frames
from kd_asr.reporting.compare_results import RunResult, SystemResult
from kd_asr.reporting.run_results import DecodedUtterance, paired_decoded, paired_scores, read_decoded
from kd_asr.stages.agreement import check_agreement
from kd_asr.stages.agreement import decided as decided_by
from kd_asr.stages.settings import load_settings
from kd_asr.stages.sweep import decided
from kd_asr.stages.systems import run_systems


def speech_result(run_dir: Path, name: str) -> RunResult:
    """Results and costs of a run whose systems have been evaluated and decoded.

    Raises:
        UserError: a stage has not been run, was run with other settings than those of the run, or by an older version.
    """
    settings = decided(run_dir, load_settings(run_dir))
    systems = run_systems(settings)
    aligned, evaluated = load_artifact(run_dir, "align"), load_artifact(run_dir, "evaluate")
    networks = {one.artifact: load_artifact(run_dir, one.artifact) for one in systems.networks}
    decodings = {system.name: load_artifact(run_dir, f"decode/{system.name}") for system in systems.systems}
    used = ("align", "evaluate", *networks, *(one.name for one in decodings.values()))
    check_agreement(run_dir, settings, used)
    scores, calibrations, seconds = _evaluated(evaluated, systems)
    decoded = paired_decoded({one: read_decoded(made.path / "test.jsonl") for one, made in decodings.items()}, "test")
    first = systems.systems[0].name
    spoken = [one.utterance_id for one in decoded[first]]
    if set(spoken) != set(scores[first].utterance_ids):
        raise UserError(f"{run_dir}: other utterances of test were decoded than scored: run `kd-asr decode {run_dir}`")
    jobs = {one: job for one, job in decided_by(settings).items() if isinstance(job, Job)}
    counted = NetworkCosts(run_dir, partial(on_frames, features=settings.features))
    costs = Costs(run_dir, jobs, counted.multiply_adds, labels_of)
    return RunResult(
        name=name,
        task="speech",
        source=corpus_of(settings.corpus).label,
        systems=systems,
        results={
            system.name: SystemResult(
                scores[system.name].select(spoken),
                calibrations[system.name],
                np.array([one.aligned.errors.errors for one in decoded[system.name]]),
                (
                    *(networks[member.artifact].fingerprint for member in system.members),
                    decodings[system.name].fingerprint,
                ),
            )
            for system in systems.systems
        },
        costs={
            group.name: group_cost(
                costs, counted, systems, group, real_time_factors=_real_time(systems, group, seconds, decoded)
            )
            for group in systems.groups
        },
        utterance_ids=tuple(spoken),
        frames=scores[first].select(spoken).frames,
        words=np.array([one.aligned.errors.reference_words for one in decoded[first]]),
        labels=checksums(aligned, "test/"),
    )


def _evaluated(
    evaluated: Artifact, systems: Systems
) -> tuple[dict[str, FrameScores], dict[str, Calibration], Mapping[str, Any]]:
    """Scores and calibration of the systems on test, and the seconds of their networks."""
    frames, calibration = evaluated.path / "frames.json", evaluated.path / "calibration.json"
    if not calibration.exists():
        raise UserError(
            f"{evaluated.path} is of a version that did not measure calibration: run "
            f"`kd-asr evaluate {evaluated.path.parent}` again"
        )
    content, bins = read_json(frames), read_json(calibration)
    names = [system.name for system in systems.systems]
    try:
        scores = {name: FrameScores.from_json(content["systems"][name]["test"]) for name in names}
        calibrations = {name: Calibration.from_json(bins[name]["test"]) for name in names}
        seconds = {name: content["network_seconds"][name]["test"] for name in names}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{frames} or {calibration.name} beside it is damaged ({error!r}): delete {evaluated.path} and run "
            "`evaluate` again"
        ) from error
    return paired_scores(scores, names, "test"), calibrations, seconds


def _real_time(
    systems: Systems,
    group: Group,
    seconds: Mapping[str, Any],
    decoded: Mapping[str, Sequence[DecodedUtterance]],
) -> tuple[float, float]:
    """Real-time factors of networks and search, means over the systems of a group."""
    names = [system.name for system in systems.of_group(group)]
    networks = [seconds[name]["seconds"] / seconds[name]["audio_seconds"] for name in names]
    searches = [
        sum(one.search_seconds for one in decoded[name]) / sum(one.seconds for one in decoded[name]) for name in names
    ]
    return float(np.mean(networks)), float(np.mean(searches))
