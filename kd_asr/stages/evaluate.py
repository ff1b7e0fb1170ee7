"""Stage `evaluate`: frame accuracy and cross-entropy of every system on train, dev and test, utterance by utterance."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json, write_json
from kd_asr.corpora.manifest import SETS
from kd_asr.evaluation.frame_accuracy import FrameScores, join_scores
from kd_asr.features.store import FrameStore
from kd_asr.networks.base import Network
from kd_asr.networks.ensemble import average_log_posteriors
from kd_asr.parallel import parallel_map
from kd_asr.stages.networks import posteriors_by_group, score_utterances
from kd_asr.stages.settings import Settings
from kd_asr.stages.speakers import SpeakerAdaptation, speakers_of
from kd_asr.stages.speech import utterance_chunks
from kd_asr.stages.systems import ENSEMBLE, load_networks, system_of, systems

_CHUNK_FRAMES = 30_000


@dataclass(frozen=True)
class _Chunk:
    """Some utterances of a set, to be scored by one system."""

    system: str
    set_name: str
    utterance_ids: list[str]
    frames: int


@dataclass(frozen=True)
class _Scored:
    """Scores of a chunk by system (an ensemble brings its members), and the seconds its networks took."""

    scores: dict[str, FrameScores]
    seconds: float


@lru_cache(maxsize=1)  # chunks come system by system, set by set
def _load(
    run_dir: Path, names: tuple[str, ...], set_name: str, settings: Settings
) -> tuple[list[Network], SpeakerAdaptation | None]:
    """Networks, and what makes them follow the speakers, those of train excepted."""
    store = FrameStore.open(run_dir / "features" / set_name)
    models = load_networks(run_dir, names, store.features)
    if settings.adapt.prior_frames == 0 or set_name == "train":
        return models, None
    return models, SpeakerAdaptation(models, store, speakers_of(run_dir, set_name), settings)


def _score(chunk: _Chunk, *, run_dir: Path, settings: Settings) -> _Scored:
    store = FrameStore.open(run_dir / "features" / chunk.set_name)
    alignments = AlignmentStore.open(run_dir / "align" / chunk.set_name)
    names = systems(settings)[chunk.system]
    models, adaptation = _load(run_dir, tuple(names), chunk.set_name, settings)
    scores: dict[str, list[FrameScores]] = {}
    seconds, started = 0.0, time.perf_counter()
    for stretch in adaptation.stretches(chunk.utterance_ids) if adaptation is not None else [chunk.utterance_ids]:
        if adaptation is not None:
            adaptation.follow(stretch[0])
        groups = posteriors_by_group(models, store, alignments, stretch, precision=settings.train.precision)
        for group, members in groups:
            log_probs = average_log_posteriors(members, settings.ensemble.average) if len(members) > 1 else members[0]
            seconds += time.perf_counter() - started
            scored = {chunk.system: log_probs}
            if chunk.system == ENSEMBLE:
                scored |= {system_of(name): member for name, member in zip(names, members, strict=True)}
            for name, outputs in scored.items():
                scores.setdefault(name, []).append(score_utterances(alignments, group, outputs))
            started = time.perf_counter()
    return _Scored({name: join_scores(parts) for name, parts in scores.items()}, seconds)


def evaluate(run_dir: Path, settings: Settings) -> Artifact:
    """Write `evaluate/frames.json`; the ensemble on train was scored when its posteriors were stored."""
    aligned, extracted = load_artifact(run_dir, "align"), load_artifact(run_dir, "features")
    stored = load_artifact(run_dir, "posteriors")
    networks = [load_artifact(run_dir, name) for names in systems(settings).values() for name in names]

    def work(folder: Path) -> dict[str, Any]:
        chunks = [
            _Chunk(system, set_name, names, frames)
            for system in systems(settings)
            for set_name in SETS
            if (system, set_name) != (ENSEMBLE, "train")
            for names, frames in utterance_chunks(AlignmentStore.open(aligned.path / set_name), _CHUNK_FRAMES)
        ]
        results = list(
            parallel_map(
                partial(_score, run_dir=run_dir, settings=settings),
                chunks,
                description="frame accuracy",
                unit="frames",
                jobs=settings.jobs,
                amount=lambda chunk: chunk.frames,
            )
        )
        parts: dict[str, dict[str, list[FrameScores]]] = {}
        seconds: dict[str, float] = {}
        for chunk, result in zip(chunks, results, strict=True):
            for name, scores in result.scores.items():
                parts.setdefault(name, {}).setdefault(chunk.set_name, []).append(scores)
            if chunk.set_name == "test":
                seconds[chunk.system] = seconds.get(chunk.system, 0.0) + result.seconds
        for name, scores in read_json(stored.path / "train_scores.json").items():
            parts[name]["train"] = [FrameScores.from_json(scores)]
        joined = {
            name: {set_name: join_scores(by_set[set_name]) for set_name in SETS} for name, by_set in parts.items()
        }
        shift = settings.features.frame_shift_ms / 1000
        audio_seconds = int(joined[ENSEMBLE]["test"].frames.sum()) * shift
        write_json(
            folder / "frames.json",
            {
                "systems": {
                    name: {set_name: scores.to_json() for set_name, scores in by_set.items()}
                    for name, by_set in joined.items()
                },
                "network_seconds": {
                    name: {"test": {"seconds": spent, "audio_seconds": audio_seconds}}
                    for name, spent in seconds.items()
                },
            },
        )
        return {
            name: {set_name: round(scores.frame_accuracy, 6) for set_name, scores in by_set.items()}
            for name, by_set in joined.items()
        }

    return build_artifact(
        run_dir,
        "evaluate",
        code=__name__,
        settings={
            "precision": settings.train.precision,
            "average": settings.ensemble.average,
            "adapt": settings.adapt,
        },
        inputs=[extracted, aligned, stored, *networks],
        work=work,
    )
