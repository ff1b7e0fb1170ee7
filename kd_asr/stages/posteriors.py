"""Stage `posteriors`: the ensemble's posteriors of every frame of the transfer set, into the posterior store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json, write_json
from kd_asr.device import HOST, Device, find_device
from kd_asr.distillation.posterior_store import PosteriorStore, encode, finish_store, write_shard
from kd_asr.distillation.signal import tail_sum, top_k_targets
from kd_asr.evaluation.frame_accuracy import FrameScores, join_scores
from kd_asr.features.store import FrameStore
from kd_asr.fingerprints import digest
from kd_asr.jobs.systems import NetworkRef
from kd_asr.networks.base import Network
from kd_asr.networks.ensemble import average_log_posteriors
from kd_asr.parallel import parallel_map
from kd_asr.stages.networks import posteriors_by_group, score_utterances
from kd_asr.stages.plan import member_names
from kd_asr.stages.settings import Settings
from kd_asr.stages.speech import utterance_chunks
from kd_asr.stages.systems import ENSEMBLE, load_networks
from kd_asr.tasks.speech import labels

SHARD_FRAMES = 50_000
# Largest number of shards of a set: a reader maps them all, and Linux allows a process 65,530 mappings.
_MOST_SHARDS = 1000


@dataclass(frozen=True)
class _Shard:
    """Utterances whose posteriors go into one file."""

    number: int
    copies: bool
    utterance_ids: list[str]
    frames: int


@dataclass
class _Worker:
    """What each worker process loads once."""

    models: list[Network]
    names: list[str]
    stores: tuple[FrameStore, FrameStore]  # of the training set, of its copies
    alignments: tuple[AlignmentStore, AlignmentStore]
    settings: Settings


_worker: _Worker


def _load(run_dir: Path, settings: Settings, device: Device) -> None:
    global _worker  # noqa: PLW0603 - one per process
    store = FrameStore.open(run_dir / "features" / "train")
    members = list(map(NetworkRef, member_names(settings)))
    models = device.put(load_networks(run_dir, members, store.features))
    folders = run_dir / "align" / "train", run_dir / "transfer" / "alignments"
    alignments = AlignmentStore.open(folders[0]), AlignmentStore.open(folders[1])
    stores = store, FrameStore.open(run_dir / "transfer" / "frames")
    _worker = _Worker(models, [member.name for member in members], stores, alignments, settings)


def _compute(shard: _Shard, *, folder: Path) -> None:
    """Write one shard and, except for copies, the frame accuracy of the ensemble and its members."""
    scores_path = folder / f"scores-{shard.number:05d}.json"
    if scores_path.exists():  # written after the shard, by an interrupted run
        return
    settings = _worker.settings
    store, alignments = _worker.stores[shard.copies], _worker.alignments[shard.copies]
    rows: list[NDArray[np.uint16]] = []
    scores: dict[str, list[FrameScores]] = {}
    tail = torch.zeros(1, dtype=torch.float64)
    groups = posteriors_by_group(
        _worker.models, store, alignments, shard.utterance_ids, precision=settings.train.precision
    )
    for names, members in groups:
        averaged = average_log_posteriors(members, settings.ensemble.average)
        targets = top_k_targets(averaged, settings.ensemble.top_k)
        rows.append(encode(targets))
        tail = tail + HOST.put(tail_sum(averaged, targets.classes))
        if not shard.copies:
            for name, log_probs in zip([ENSEMBLE, *_worker.names], [averaged, *members], strict=True):
                scores.setdefault(name, []).append(score_utterances(alignments, names, log_probs))
    write_shard(folder, shard.number, np.concatenate(rows))
    joined = {name: join_scores(parts).to_json() for name, parts in scores.items()}
    write_json(scores_path, {"scores": joined, "tail": tail.tolist()})


def _shard_frames(alignments: AlignmentStore) -> int:
    return max(SHARD_FRAMES, len(labels(alignments)) // _MOST_SHARDS)


def posteriors(run_dir: Path, settings: Settings) -> Artifact:
    """Fill the posterior store `posteriors/` with the training set's posteriors and those of its copies, shard by shard
    in parallel; shards that are there are kept."""
    extracted, aligned, copied = (load_artifact(run_dir, name) for name in ("features", "align", "transfer"))
    members = [load_artifact(run_dir, name) for name in member_names(settings)]
    device = find_device(settings.device)

    def work(folder: Path) -> dict[str, Any]:
        sets = AlignmentStore.open(aligned.path / "train"), AlignmentStore.open(copied.path / "alignments")
        chunks = [
            (copies, names, frames)
            for copies, alignments in zip((False, True), sets, strict=True)
            for names, frames in utterance_chunks(alignments, _shard_frames(alignments))
        ]
        shards = [_Shard(number, *chunk) for number, chunk in enumerate(chunks)]
        for _ in parallel_map(
            partial(_compute, folder=folder),
            shards,
            description="posteriors",
            unit="frames",
            jobs=device.processes(settings.jobs),
            amount=lambda shard: shard.frames,
            initializer=_load,
            initargs=(run_dir, settings, device),
        ):
            pass
        frame_counts = [len(alignments.pdfs(name)) for alignments in sets for name in alignments.utterance_ids]
        num_classes = Topology.load(aligned.path / "topology.json").num_pdfs
        paths = [folder / f"scores-{shard.number:05d}.json" for shard in shards]
        parts = [read_json(path) for path in paths]
        finish_store(
            folder,
            [name for alignments in sets for name in alignments.utterance_ids],
            frame_counts,
            shard_frames=[shard.frames for shard in shards],
            top_k=min(settings.ensemble.top_k, num_classes),
            tail_prior=torch.tensor([part["tail"] for part in parts], dtype=torch.float64).sum(dim=0),
            fingerprints={
                "features": extracted.fingerprint,
                "align": aligned.fingerprint,
                "ensemble": digest([member.fingerprint for member in members]),
            },
        )
        by_system = [part["scores"] for part in parts if part["scores"]]
        joined = {
            name: join_scores([FrameScores.from_json(scores[name]) for scores in by_system]) for name in by_system[0]
        }
        write_json(folder / "train_scores.json", {name: scores.to_json() for name, scores in joined.items()})
        for path in paths:
            path.unlink()
        store = PosteriorStore(folder)
        return {
            "frames": sum(frame_counts),
            "top_k": store.top_k,
            "bytes_per_frame": store.bytes_per_frame,
            "dense_bytes_per_frame": 4 * num_classes,
            "mass_kept": store.mean_mass_kept(),
            "shards": len(shards),
        }

    return build_artifact(
        run_dir,
        "posteriors",
        code=__name__,
        settings={
            "average": settings.ensemble.average,
            "top_k": settings.ensemble.top_k,
            "precision": settings.train.precision,
        },
        inputs=[extracted, aligned, copied, *members],
        work=work,
    )
