"""Stage `evaluate`: frame accuracy and cross-entropy of every system on train, dev and test, utterance by utterance,
and its calibration."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json, write_json
from kd_asr.corpora.manifest import SETS
from kd_asr.device import HOST, Device, find_device
from kd_asr.evaluation.calibration import Calibration, calibrate, join_calibrations
from kd_asr.evaluation.frame_accuracy import FrameScores, join_scores
from kd_asr.features.store import FrameStore
from kd_asr.jobs.systems import NetworkRef, System, Systems
from kd_asr.networks.base import Network
from kd_asr.networks.ensemble import average_log_posteriors, combined_log_posteriors
from kd_asr.parallel import parallel_map
from kd_asr.stages.networks import posteriors_by_group, score_utterances
from kd_asr.stages.settings import Settings
from kd_asr.stages.speakers import SpeakerAdaptation, speakers_of
from kd_asr.stages.speech import utterance_chunks
from kd_asr.stages.systems import load_networks, run_systems

_CHUNK_FRAMES = 30_000


@dataclass(frozen=True)
class _Chunk:
    """Some utterances of a set, to be scored by one system."""

    system: System
    set_name: str
    utterance_ids: list[str]
    frames: int


@dataclass(frozen=True)
class _Scored:
    """Scores of a chunk by system, with those of the members of a combination, the system's calibration, and the
    seconds its networks took; of the teacher, scores of smaller ensembles by their number of members."""

    scores: dict[str, FrameScores]
    calibration: Calibration
    seconds: float
    smaller: dict[int, list[FrameScores]]


@lru_cache(maxsize=1)  # chunks come system by system, set by set
def _load(
    run_dir: Path, members: tuple[NetworkRef, ...], set_name: str, settings: Settings, device: Device
) -> tuple[list[Network], SpeakerAdaptation | None]:
    """Networks, and their adaptation to the speakers of dev and test."""
    store = FrameStore.open(run_dir / "features" / set_name)
    models = device.put(load_networks(run_dir, members, store.features))
    if settings.adapt.prior_frames == 0 or set_name == "train":
        return models, None
    return models, SpeakerAdaptation(models, store, speakers_of(run_dir, set_name), settings)


def _posteriors(
    run_dir: Path, settings: Settings, system: System, set_name: str, utterance_ids: Sequence[str], *, device: Device
) -> Iterator[tuple[list[str], torch.Tensor, list[torch.Tensor]]]:
    """Groups of utterances with the (frames, pdfs) log-posteriors of the system, and those of every member."""
    store = FrameStore.open(run_dir / "features" / set_name)
    alignments = AlignmentStore.open(run_dir / settings.targets.artifact / set_name)
    models, adaptation = _load(run_dir, system.members, set_name, settings, device)
    for stretch in adaptation.stretches(utterance_ids) if adaptation is not None else [utterance_ids]:
        if adaptation is not None:
            adaptation.adapt_to(stretch[0])
        groups = posteriors_by_group(models, store, alignments, stretch, precision=settings.train.precision)
        for names, members in groups:
            yield names, combined_log_posteriors(models, members, system.combine), members


def _score(chunk: _Chunk, *, run_dir: Path, settings: Settings, device: Device, systems: Systems) -> _Scored:
    alignments = AlignmentStore.open(run_dir / settings.targets.artifact / chunk.set_name)
    brought = systems.scored_with(chunk.system)
    _load(run_dir, chunk.system.members, chunk.set_name, settings, device)  # before the clock starts
    scores: dict[str, list[FrameScores]] = {}
    calibrations: list[Calibration] = []
    smaller: dict[int, list[list[FrameScores]]] = {}
    seconds, started = 0.0, time.perf_counter()
    found = _posteriors(run_dir, settings, chunk.system, chunk.set_name, chunk.utterance_ids, device=device)
    for names, outputs, members in found:
        device.wait()
        seconds += time.perf_counter() - started
        scored = {chunk.system.name: outputs}
        scored |= {
            systems.scored_as(member): log_probs
            for member, log_probs in zip(chunk.system.members, members, strict=True)
            if member in brought
        }
        for name, log_probs in scored.items():
            scores.setdefault(name, []).append(score_utterances(alignments, names, log_probs))
        calibrations.append(_calibration(alignments, names, outputs))
        for size in _compared_sizes(settings, systems, chunk.system):
            of_size = smaller.setdefault(size, [[] for _ in disjoint(len(members), size)])
            for parts, chosen in zip(of_size, disjoint(len(members), size), strict=True):
                averaged = average_log_posteriors([members[number] for number in chosen], chunk.system.combine)
                parts.append(score_utterances(alignments, names, averaged))
        started = time.perf_counter()
    return _Scored(
        {name: join_scores(parts) for name, parts in scores.items()},
        join_calibrations(calibrations),
        seconds,
        {size: [join_scores(parts) for parts in of_size] for size, of_size in smaller.items()},
    )


def _calibration(alignments: AlignmentStore, utterance_ids: Sequence[str], log_probs: torch.Tensor) -> Calibration:
    """Calibration of (frames, pdfs) log-posteriors of some utterances, one after the other."""
    largest, chosen = HOST.put(log_probs).max(dim=1)
    pdfs = np.concatenate([alignments.pdfs(name) for name in utterance_ids])
    return calibrate(largest.exp().numpy(), chosen.numpy() == pdfs)


def _compared_sizes(settings: Settings, systems: Systems, system: System) -> list[int]:
    """Numbers of members of the smaller ensembles that are compared with the teacher; none for other systems."""
    if systems.teacher is None or system.group != systems.teacher.name:
        return []
    return sorted({size for size in settings.ensemble.compared_sizes if size <= len(system.members)})


def disjoint(members: int, size: int) -> list[range]:
    """Numbers of the members of as many ensembles of a size as can be made without a member in two of them."""
    return [range(first, first + size) for first in range(0, members - size + 1, size)]


def evaluate(run_dir: Path, settings: Settings) -> Artifact:
    """Write `evaluate/frames.json`, `calibration.json` with frames of dev and test by confidence, and `utterance.json`
    with an utterance of dev, frame by frame.

    The scores of the teacher on train come from the stage `posteriors`.
    """
    aligned, extracted = load_artifact(run_dir, settings.targets.artifact), load_artifact(run_dir, "features")
    systems, device = run_systems(settings), find_device(settings.device)
    stored = [load_artifact(run_dir, "posteriors")] if systems.teacher is not None else []
    networks = [load_artifact(run_dir, name) for name in dict.fromkeys(one.artifact for one in systems.networks)]

    def work(folder: Path) -> dict[str, Any]:
        on_train = {name: found for one in stored for name, found in read_json(one.path / "train_scores.json").items()}
        chunks = [
            _Chunk(system, set_name, names, frames)
            for system in systems.systems
            for set_name in SETS
            if set_name != "train" or system.name not in on_train
            for names, frames in utterance_chunks(AlignmentStore.open(aligned.path / set_name), _CHUNK_FRAMES)
        ]
        results = list(
            parallel_map(
                partial(_score, run_dir=run_dir, settings=settings, device=device, systems=systems),
                chunks,
                description="frame accuracy",
                unit="frames",
                jobs=device.processes(settings.jobs),
                amount=lambda chunk: chunk.frames,
            )
        )
        parts: dict[str, dict[str, list[FrameScores]]] = {}
        calibrations: dict[str, dict[str, list[Calibration]]] = {}
        smaller: dict[int, dict[str, list[list[FrameScores]]]] = {}
        seconds: dict[str, float] = {}
        for chunk, result in zip(chunks, results, strict=True):
            for name, scores in result.scores.items():
                parts.setdefault(name, {}).setdefault(chunk.set_name, []).append(scores)
            if chunk.set_name != "train":
                of_system = calibrations.setdefault(chunk.system.name, {})
                of_system.setdefault(chunk.set_name, []).append(result.calibration)
            for size, of_size in result.smaller.items():
                smaller.setdefault(size, {}).setdefault(chunk.set_name, []).append(of_size)
            if chunk.set_name == "test":
                seconds[chunk.system.name] = seconds.get(chunk.system.name, 0.0) + result.seconds
        for name, scores in on_train.items():
            if name in parts:  # the only member of an ensemble is scored as the ensemble
                parts[name]["train"] = [FrameScores.from_json(scores)]
        joined = {
            name: {set_name: join_scores(by_set[set_name]) for set_name in SETS} for name, by_set in parts.items()
        }
        shift = settings.features.frame_shift
        audio_seconds = int(joined[systems.systems[0].name]["test"].frames.sum()) * shift
        write_json(
            folder / "frames.json",
            {
                "device": device.label,
                "systems": {
                    name: {set_name: scores.to_json() for set_name, scores in by_set.items()}
                    for name, by_set in joined.items()
                },
                "network_seconds": {
                    name: {"test": {"seconds": spent, "audio_seconds": audio_seconds}}
                    for name, spent in seconds.items()
                },
                "ensemble_sizes": [
                    {
                        "members": size,
                        **{
                            set_name: [join_scores(list(one)).frame_accuracy for one in zip(*chunked, strict=True)]
                            for set_name, chunked in by_set.items()
                        },
                    }
                    for size, by_set in sorted(smaller.items())
                ],
            },
        )
        write_json(
            folder / "calibration.json",
            {
                name: {set_name: join_calibrations(found).to_json() for set_name, found in by_set.items()}
                for name, by_set in calibrations.items()
            },
        )
        write_json(folder / "utterance.json", _one_utterance(run_dir, settings, device, systems))
        return {
            name: {set_name: round(scores.frame_accuracy, 6) for set_name, scores in by_set.items()}
            for name, by_set in joined.items()
        }

    return build_artifact(
        run_dir,
        "evaluate",
        code=__name__,
        settings=decides(settings),
        inputs=[extracted, aligned, *stored, *networks],
        work=work,
    )


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact."""
    return {
        "train.precision": settings.train.precision,
        "systems": list(run_systems(settings).systems),
        "adapt": settings.adapt,
        "ensemble.compared_sizes": settings.ensemble.compared_sizes,
    }


def _one_utterance(run_dir: Path, settings: Settings, device: Device, systems: Systems) -> dict[str, Any]:
    """An utterance of dev of middling length: posteriors of its aligned pdfs by the first system of every group."""
    alignments = AlignmentStore.open(run_dir / settings.targets.artifact / "dev")
    chosen = _of_median_length(alignments)
    pdfs = torch.from_numpy(alignments.pdfs(chosen).astype(np.int64))
    found = {}
    for group in systems.groups:
        system = systems.of_group(group)[0]
        outputs = _posteriors(run_dir, settings, system, "dev", [chosen], device=device)
        parts = [log_probs for _, log_probs, _ in outputs]
        of_pdfs = HOST.put(torch.cat(parts)).gather(1, pdfs[:, None])[:, 0].exp()
        found[group.name] = {"system": system.name, "posteriors": [round(float(value), 5) for value in of_pdfs]}
    return {"utterance_id": chosen, "groups": found}


def _of_median_length(alignments: AlignmentStore) -> str:
    """The utterance whose number of frames is the lower median."""
    ordered = sorted(alignments.utterance_ids, key=lambda name: (len(alignments.pdfs(name)), name))
    return ordered[(len(ordered) - 1) // 2]
