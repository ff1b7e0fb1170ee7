"""Scores of the experiment's networks on their part of the training set, on dev and on test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import Artifact, read_json, write_json
from kd_asr.corpora.manifest import read_manifest
from kd_asr.device import Device, find_device
from kd_asr.evaluation.frame_accuracy import join_scores
from kd_asr.experiments.reduced_data.plan import ReducedNetwork, ReducedSystem
from kd_asr.features.store import FrameStore
from kd_asr.networks.files import load_network
from kd_asr.parallel import parallel_map
from kd_asr.stages.networks import posteriors_by_group, score_utterances
from kd_asr.stages.settings import Settings
from kd_asr.tasks.speech import LabelledSpeech, SpeechData, draw_subset, examples_of
from kd_asr.training.measure import measure


@dataclass(frozen=True)
class _ScoreTask:
    """A system to score, and the file for its scores."""

    system: ReducedSystem
    path: Path


def score_systems(
    run_dir: Path, settings: Settings, systems: Sequence[ReducedSystem], folder: Path
) -> dict[str, dict[str, Any]]:
    """Accuracy and cross-entropy of each system on `part` and `dev`, and counts for every utterance of `test`.

    Each is written into the folder at once and kept when an interrupted run resumes.
    """
    tasks = [_ScoreTask(system, folder / f"scores-{system.name}.json") for system in systems]
    missing = [one for one in tasks if not one.path.exists()]
    if missing:
        device = find_device(settings.device)
        score, jobs = partial(_score, run_dir=run_dir, device=device), device.processes(settings.jobs)
        for _ in parallel_map(score, missing, description="score", unit="networks", jobs=jobs):
            pass
    found = {one.system.name: read_json(one.path) for one in tasks}
    for one in tasks:
        one.path.unlink()
    return found


def _score(task: _ScoreTask, *, run_dir: Path, device: Device) -> None:
    job = task.system.network.job
    assert isinstance(job.data, SpeechData)
    precision = job.budget.precision
    store, alignments = FrameStore.open(run_dir / "features" / "test"), AlignmentStore.open(run_dir / "align" / "test")
    model = device.put(load_network(run_dir / job.name / task.system.weights_ref.file, store.features))
    groups = posteriors_by_group([model], store, alignments, alignments.utterance_ids, precision=precision)
    on_test = join_scores([score_utterances(alignments, names, log_probs) for names, [log_probs] in groups])
    found: dict[str, Any] = {"test": on_test.to_json()}
    dev = examples_of([LabelledSpeech.of_set(run_dir, "dev")], job.network, evaluation=True)
    for name, examples in (("part", job.data.plain_subset(run_dir, job)), ("dev", dev)):
        measured = measure(model, examples, precision=precision)
        found[name] = {"frame_accuracy": measured.accuracy, "cross_entropy": measured.cross_entropy}
    write_json(task.path, found)


def describe_parts(
    run_dir: Path, settings: Settings, networks: Sequence[ReducedNetwork], trained: Sequence[Artifact]
) -> list[dict[str, Any]]:
    """Size of each part, and figures of the training of a network on its hard labels."""
    alignments = AlignmentStore.open(run_dir / "align" / "train")
    speakers = {item.utterance_id: item.speaker_id for item in read_manifest(run_dir / "prepare" / "train.jsonl")}
    found = []
    for network, artifact in zip(networks, trained, strict=True):
        if network.arm == "hard":
            subset = draw_subset(alignments, network.subset)
            found.append(
                {
                    "fraction": network.fraction,
                    "repetition": network.repetition,
                    "seconds": len(subset.frames) * settings.features.frame_shift,
                    "utterances": len(subset.utterance_ids),
                    "speakers": len({speakers[name] for name in subset.utterance_ids}),
                    "passes": artifact.metrics["passes"],
                    "best_pass": artifact.metrics["best_epoch"],
                    "best_dev_frame_accuracy": artifact.metrics["dev_accuracy"],
                }
            )
    return found
