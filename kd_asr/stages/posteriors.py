"""Stage `posteriors`: the ensemble's posteriors of every frame of the transfer set, into the posterior store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json, write_json
from kd_asr.device import HOST, Device, find_device
from kd_asr.distillation.posterior_store import PosteriorStore, encode, finish_store, write_shard
from kd_asr.distillation.signal import tail_sum, top_k_targets
from kd_asr.evaluation.frame_accuracy import FrameScores, join_scores
from kd_asr.features.parts import Part, without_long_silence, write_parts
from kd_asr.features.store import FrameStore
from kd_asr.fingerprints import digest
from kd_asr.jobs.systems import NetworkRef
from kd_asr.networks.base import Network
from kd_asr.networks.ensemble import average_log_posteriors
from kd_asr.parallel import parallel_map
from kd_asr.sequence.forward_backward import DenominatorSums
from kd_asr.sequence.teaching import log_occupations
from kd_asr.stages.networks import PIECE, posteriors_by_group, posteriors_of, score_utterances
from kd_asr.stages.plan import member_names
from kd_asr.stages.settings import Settings
from kd_asr.stages.speech import chunks_of, utterance_chunks
from kd_asr.stages.systems import ENSEMBLE, load_networks
from kd_asr.tasks.speech import PARTS, labels, piece_of
from kd_asr.tasks.targets import SequenceTargets

SHARD_FRAMES = 50_000
# Largest number of shards of a set: a reader maps them all, and Linux allows a process 65,530 mappings.
_MOST_SHARDS = 1000


Kind = Literal["train", "copies", "unlabelled"]


@dataclass(frozen=True)
class _Shard:
    """Utterances whose posteriors go into one file."""

    number: int
    kind: Kind
    utterance_ids: list[str]
    frames: int


@dataclass
class _Worker:
    """What each worker process loads once."""

    models: list[Network]
    names: list[str]
    stores: dict[Kind, FrameStore]
    alignments: dict[Kind, AlignmentStore]
    silence: list[int]  # its pdfs
    settings: Settings
    denominator: DenominatorSums | None

    def taught(
        self, shard: _Shard, utterance_ids: Sequence[str], members: list[torch.Tensor], averaged: torch.Tensor
    ) -> torch.Tensor:
        """(frames, pdfs) logarithms of what is stored of some utterances."""
        if self.denominator is None:
            return averaged
        counts = [self.stores[shard.kind].num_frames(name) for name in utterance_ids]
        return log_occupations(members, counts, self.denominator)


_worker: _Worker


def _load(run_dir: Path, settings: Settings, device: Device) -> None:
    global _worker  # noqa: PLW0603 - one per process
    store = FrameStore.open(run_dir / "features" / "train")
    members = list(map(NetworkRef, member_names(settings)))
    models = device.put(load_networks(run_dir, members, store.features))
    alignments: dict[Kind, AlignmentStore] = {
        "train": AlignmentStore.open(run_dir / settings.targets.artifact / "train"),
        "copies": AlignmentStore.open(run_dir / "transfer" / "alignments"),
    }
    stores: dict[Kind, FrameStore] = {"train": store, "copies": FrameStore.open(run_dir / "transfer" / "frames")}
    if settings.unlabelled_folders:
        stores["unlabelled"] = FrameStore.open(run_dir / "unlabelled" / "frames")
    silence = settings.targets.silent_pdfs(run_dir)
    targets, denominator = settings.targets, None
    if isinstance(targets, SequenceTargets) and settings.sequence.taught == "occupations":
        denominator = device.put(targets.denominator(run_dir))
    names = [member.name for member in members]
    _worker = _Worker(models, names, stores, alignments, silence, settings, denominator)


def _compute(shard: _Shard, *, folder: Path) -> None:
    """Write one shard and, of the training set itself, the frame accuracy of the ensemble and its members."""
    scores_path = folder / f"scores-{shard.number:05d}.json"
    if scores_path.exists():  # written after the shard, by an interrupted run
        return
    settings = _worker.settings
    parts: list[Part] = []
    scores: dict[str, list[FrameScores]] = {}
    tail = torch.zeros(1, dtype=torch.float64)

    def rows() -> Iterator[np.ndarray]:
        nonlocal tail
        for names, members in _groups(shard):
            averaged = average_log_posteriors(members, settings.ensemble.average)
            if shard.kind == "unlabelled":
                found, kept = _without_silence(names, averaged)
                parts.extend(found)
                averaged = averaged[kept]
            taught = _worker.taught(shard, names, members, averaged)
            targets = top_k_targets(taught, settings.ensemble.top_k)
            tail = tail + HOST.put(tail_sum(taught, targets.classes))
            if shard.kind == "train":
                for name, log_probs in zip([ENSEMBLE, *_worker.names], [averaged, *members], strict=True):
                    scored = score_utterances(_worker.alignments["train"], names, log_probs)
                    scores.setdefault(name, []).append(scored)
            yield encode(targets)

    write_shard(folder, shard.number, rows())
    joined = {name: join_scores(parts).to_json() for name, parts in scores.items()}
    write_json(scores_path, {"scores": joined, "tail": tail.tolist(), "parts": [list(astuple(one)) for one in parts]})


def _groups(shard: _Shard) -> Iterator[tuple[list[str], list[torch.Tensor]]]:
    """Groups of the shard's utterances with every member's log-posteriors."""
    models, store, precision = _worker.models, _worker.stores[shard.kind], _worker.settings.train.precision
    if shard.kind != "unlabelled":
        alignments = _worker.alignments[shard.kind]
        yield from posteriors_by_group(models, store, alignments, shard.utterance_ids, precision=precision)
        return
    for names, _ in chunks_of(shard.utterance_ids, store.num_frames, PIECE):
        yield names, posteriors_of(models, store, names, precision=precision)


def _without_silence(utterance_ids: Sequence[str], log_probs: torch.Tensor) -> tuple[list[Part], torch.Tensor]:
    """Parts of unlabelled utterances without long silences, and (kept,) int64 rows of their frames.

    Args:
        utterance_ids: some utterances.
        log_probs: (frames, pdfs) log-posteriors of the ensemble, utterance after utterance.
    """
    own, shift = _worker.settings.unlabelled, _worker.settings.features.frame_shift
    mass = log_probs[:, _worker.silence].exp().sum(dim=1)
    silent = HOST.put(mass > own.silence_posterior).numpy()
    parts, rows, first = [], [np.zeros(0, dtype=np.int64)], 0
    for name in utterance_ids:
        count = _worker.stores["unlabelled"].num_frames(name)
        left = without_long_silence(silent[first : first + count], round(own.longest_silence / shift))
        parts += [Part(f"{name}@{start}", name, start, end - start) for start, end in left]
        rows += [np.arange(first + start, first + end) for start, end in left]
        first += count
    return parts, torch.from_numpy(np.concatenate(rows)).to(log_probs.device)


def _shard_frames(frames: int) -> int:
    """Least frames of a shard of a set with so many."""
    return max(SHARD_FRAMES, frames // _MOST_SHARDS)


def posteriors(run_dir: Path, settings: Settings) -> Artifact:
    """Fill the posterior store `posteriors/` with the posteriors of the training set, of its copies and of unlabelled
    audio, shard by shard in parallel; shards that are there are kept.

    Of unlabelled audio, long silences are left out: the store has the parts that `unlabelled.tsv` lists.
    """
    targets = settings.targets
    extracted, aligned, copied = (load_artifact(run_dir, name) for name in ("features", targets.artifact, "transfer"))
    members = [load_artifact(run_dir, name) for name in member_names(settings)]
    added = [load_artifact(run_dir, "unlabelled")] if settings.unlabelled_folders else []
    device = find_device(settings.device)

    def work(folder: Path) -> dict[str, Any]:
        sets = AlignmentStore.open(aligned.path / "train"), AlignmentStore.open(copied.path / "alignments")
        kinds: tuple[Kind, Kind] = ("train", "copies")
        chunks: list[tuple[Kind, list[str], int]] = [
            (kind, names, frames)
            for kind, alignments in zip(kinds, sets, strict=True)
            for names, frames in utterance_chunks(alignments, _shard_frames(len(labels(alignments))))
        ]
        for one in added:
            store = FrameStore.open(one.path / "frames")
            least = _shard_frames(one.metrics["frames"])
            chunks += [("unlabelled", *chunk) for chunk in chunks_of(store.utterance_ids, store.num_frames, least)]
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
        num_classes = targets.topology(run_dir).num_pdfs
        paths = [folder / f"scores-{shard.number:05d}.json" for shard in shards]
        found = [read_json(path) for path in paths]
        parts = [Part(*fields) for one in found for fields in one["parts"]]
        names = [name for alignments in sets for name in alignments.utterance_ids]
        frame_counts = [len(alignments.pdfs(name)) for alignments in sets for name in alignments.utterance_ids]
        finish_store(
            folder,
            [*names, *(part.name for part in parts)],
            [*frame_counts, *(part.frames for part in parts)],
            shard_frames=[
                sum(fields[-1] for fields in one["parts"]) if shard.kind == "unlabelled" else shard.frames
                for shard, one in zip(shards, found, strict=True)
            ],
            top_k=min(settings.ensemble.top_k, num_classes),
            tail_prior=torch.tensor([one["tail"] for one in found], dtype=torch.float64).sum(dim=0),
            fingerprints={
                "features": extracted.fingerprint,
                targets.artifact: aligned.fingerprint,
                "ensemble": digest([member.fingerprint for member in members]),
            },
        )
        by_system = [one["scores"] for one in found if one["scores"]]
        joined = {
            name: join_scores([FrameScores.from_json(scores[name]) for scores in by_system]) for name in by_system[0]
        }
        write_json(folder / "train_scores.json", {name: scores.to_json() for name, scores in joined.items()})
        for path in paths:
            path.unlink()
        made = PosteriorStore(folder)
        metrics: dict[str, Any] = {
            "frames": sum(frame_counts) + sum(part.frames for part in parts),
            "top_k": made.top_k,
            "bytes_per_frame": made.bytes_per_frame,
            "dense_bytes_per_frame": 4 * num_classes,
            "mass_kept": made.mean_mass_kept(),
            "shards": len(shards),
        }
        for one in added:
            write_parts(folder / PARTS, parts)
            kept = sum(part.frames for part in parts)
            originals = sum(part.frames for part in parts if piece_of(part.utterance_id) == part.utterance_id)
            metrics["unlabelled"] = {
                "parts": len(parts),
                "frames_kept": kept,
                "frames_of_silence_left_out": one.metrics["frames"] - kept,
                "seconds_kept": round(originals * settings.features.frame_shift, 3),  # copies are no further audio
            }
        return metrics

    return build_artifact(
        run_dir,
        "posteriors",
        code=__name__,
        settings=decides(settings),
        inputs=[extracted, aligned, copied, *added, *members],
        work=work,
    )


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact."""
    own = settings.unlabelled
    silence = {
        "unlabelled.longest_silence": own.longest_silence,
        "unlabelled.silence_posterior": own.silence_posterior,
    }
    return {
        "ensemble.average": settings.ensemble.average,
        "ensemble.top_k": settings.ensemble.top_k,
        "train.precision": settings.train.precision,
        **(silence if settings.unlabelled_folders else {}),
        **({"sequence.taught": settings.sequence.taught} if settings.targets.stride > 1 else {}),
    }
