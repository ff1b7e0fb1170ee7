"""Stage `align`: train the aligner from a flat start, then one target (pdf) for every frame of train, dev and test."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.lexicon import Lexicon, read_lexicon
from kd_asr.alignment.observations import cepstra_with_deltas
from kd_asr.alignment.store import Alignment, write_alignments
from kd_asr.alignment.topology import SILENCE
from kd_asr.alignment.training import (
    AlignerModel,
    Pass,
    PassResult,
    align_words,
    first_model,
    gaussians_after,
    next_model,
    run_pass,
    schedule,
    sees_everything,
)
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json, write_json
from kd_asr.config import AlignSettings, Settings
from kd_asr.console import say
from kd_asr.corpora.manifest import Rejected, Utterance, read_manifest, write_rejected
from kd_asr.errors import UserError
from kd_asr.features.store import FrameStore
from kd_asr.parallel import parallel_map

SETS = ("train", "dev", "test")
SHARDS = 16
_PROGRESS = "progress.json"


@dataclass(frozen=True)
class _Shard:
    """Some utterances of a set; the shards do not depend on the number of processes."""

    set_name: str
    utterances: list[Utterance]
    frames: int


@dataclass
class _Worker:
    lexicon: Lexicon
    model: AlignerModel
    stores: dict[str, FrameStore]
    settings: AlignSettings


_worker: _Worker


def _load(run_dir: Path, model_path: Path, settings: AlignSettings) -> None:
    global _worker  # noqa: PLW0603 - one per process
    phones = _read_phones(run_dir)
    stores = {name: FrameStore.open(run_dir / "features" / name) for name in SETS}
    lexicon = read_lexicon(run_dir / "lexicon" / "lexicon.txt")
    _worker = _Worker(lexicon, AlignerModel.load(model_path, phones), stores, settings)


def _read_phones(run_dir: Path) -> tuple[str, ...]:
    return tuple((run_dir / "lexicon" / "phones.txt").read_text(encoding="utf-8").split())


def _pass_over(shard: _Shard, *, kind: Pass) -> PassResult:
    store = _worker.stores[shard.set_name]
    utterances = [(item.utterance_id, store.frames(item.utterance_id), item.words) for item in shard.utterances]
    return run_pass(kind, _worker.model, utterances, _worker.lexicon, _worker.settings)


def _align(shard: _Shard) -> list[Alignment | None]:
    store, model = _worker.stores[shard.set_name], _worker.model
    return [
        align_words(
            model,
            item.utterance_id,
            model.observations(store.frames(item.utterance_id)),
            item.words,
            lexicon=_worker.lexicon,
            settings=_worker.settings,
        )
        for item in shard.utterances
    ]


def _shards(set_name: str, utterances: Sequence[Utterance], store: FrameStore) -> list[_Shard]:
    """`SHARDS` runs of utterances of about the same length."""
    frames = np.array([store.num_frames(item.utterance_id) for item in utterances], dtype=np.int64)
    place = np.cumsum(frames) - frames
    number = place * SHARDS // max(1, int(frames.sum()))
    return [
        _Shard(set_name, [utterances[int(index)] for index in members], int(frames[members].sum()))
        for members in (np.flatnonzero(number == shard) for shard in range(SHARDS))
        if len(members)
    ]


def _moments(store: FrameStore, utterances: Sequence[Utterance]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and variance of cepstra and derivatives over some utterances, each (39,)."""
    count, total, square = 0, 0.0, 0.0
    for item in utterances:
        frames = cepstra_with_deltas(store.frames(item.utterance_id)).astype(np.float64)
        count += len(frames)
        total = total + frames.sum(axis=0)
        square = square + np.square(frames).sum(axis=0)
    mean = total / count
    return np.asarray(mean, np.float32), np.asarray(square / count - np.square(mean), np.float32)


def _train(folder: Path, run_dir: Path, utterances: list[Utterance], settings: Settings) -> list[dict[str, Any]]:
    """All passes; model and figures are saved after each, and an interrupted training goes on after the last one."""
    align = settings.align
    store = FrameStore.open(run_dir / "features" / "train")
    by_length = sorted(utterances, key=lambda item: (store.num_frames(item.utterance_id), item.utterance_id))
    enough = align.early_share * sum(store.num_frames(item.utterance_id) for item in utterances)
    lengths = np.cumsum([store.num_frames(item.utterance_id) for item in by_length])
    early_ids = {item.utterance_id for item in by_length[: int(np.searchsorted(lengths, enough)) + 1]}
    early = [item for item in utterances if item.utterance_id in early_ids]
    mean, floor = _moments(store, early)

    model_path, progress_path = folder / "model.safetensors", folder / _PROGRESS
    if progress_path.exists():
        done: list[dict[str, Any]] = read_json(progress_path)
        model_path = folder / f"model-{len(done):02d}.safetensors"
    else:
        done = []
        model_path = folder / "model-00.safetensors"
        first_model(_read_phones(run_dir), mean, floor).save(model_path)
    passes = schedule(align)
    for number in range(len(done), len(passes)):
        kind = passes[number]
        chosen = utterances if sees_everything(number, align) else early
        shards = _shards("train", chosen, store)
        results = parallel_map(
            partial(_pass_over, kind=kind),
            shards,
            description=f"align {number + 1}/{len(passes)} {kind}",
            unit="frames",
            jobs=settings.jobs,
            amount=lambda shard: shard.frames,
            initializer=_load,
            initargs=(run_dir, model_path, align),
        )
        total: PassResult | None = None
        for result in results:
            if total is None:
                total = result
            else:
                total += result
        if total is None or total.frames == 0:
            raise UserError("no utterance of train could be aligned: do transcripts and audio belong together?")
        model = AlignerModel.load(model_path, _read_phones(run_dir))
        wanted = gaussians_after(number, align, model.topology.num_pdfs)
        following = next_model(kind, model, total, wanted, floor)
        done.append(
            {
                "pass": kind,
                "log_likelihood_per_frame": total.log_likelihood / total.frames,
                "gaussians": len(model.mixtures.pdf),
                "frames": total.frames,
                "failed": len(total.failed),
            }
        )
        following.save(folder / f"model-{number + 1:02d}.safetensors")
        write_json(progress_path, done)
        model_path = folder / f"model-{number + 1:02d}.safetensors"
    shutil.copyfile(model_path, folder / "model.safetensors")
    return done


def _align_set(
    name: str, folder: Path, run_dir: Path, utterances: list[Utterance], settings: Settings
) -> tuple[list[Alignment], list[Rejected]]:
    """Align a set with the final model."""
    store = FrameStore.open(run_dir / "features" / name)
    shards = _shards(name, utterances, store)
    results = parallel_map(
        _align,
        shards,
        description=f"align {name}",
        unit="frames",
        jobs=settings.jobs,
        amount=lambda shard: shard.frames,
        initializer=_load,
        initargs=(run_dir, folder / "model.safetensors", settings.align),
    )
    alignments: list[Alignment] = []
    rejected: list[Rejected] = []
    for shard, outcome in zip(shards, results, strict=True):
        for item, alignment in zip(shard.utterances, outcome, strict=True):
            if alignment is None:
                reason = f"cannot be aligned: no path for {len(item.words)} words in {item.seconds:.1f} s of audio"
                rejected.append(Rejected(item.utterance_id, item.audio_path, reason, "align"))
            else:
                alignments.append(alignment)
    if not alignments:
        raise UserError(f"no utterance of {name} could be aligned: do transcripts and audio belong together?")
    return alignments, rejected


def align(run_dir: Path, settings: Settings) -> Artifact:
    """Write the aligner, `topology.json` and the alignment stores `train`, `dev` and `test`."""
    inputs = [load_artifact(run_dir, name) for name in ("prepare", "features", "lexicon")]

    def work(folder: Path) -> dict[str, Any]:
        sets: dict[str, list[Utterance]] = {}
        for name in SETS:
            present = set(FrameStore.open(run_dir / "features" / name).utterance_ids)
            manifest = read_manifest(run_dir / "prepare" / f"{name}.jsonl")
            sets[name] = [item for item in manifest if item.utterance_id in present]
        passes = _train(folder, run_dir, sets["train"], settings)
        model = AlignerModel.load(folder / "model.safetensors", _read_phones(run_dir))
        model.topology.save(folder / "topology.json")
        metrics: dict[str, Any] = {
            "pdfs": model.topology.num_pdfs,
            "gaussians": len(model.mixtures.pdf),
            "log_likelihood_per_frame": [round(item["log_likelihood_per_frame"], 4) for item in passes],
            "passes": passes,
        }
        rejected: list[Rejected] = []
        silence_pdfs = [model.topology.pdf(SILENCE, state) for state in range(3)]
        for name in SETS:
            alignments, bad = _align_set(name, folder, run_dir, sets[name], settings)
            rejected += bad
            write_alignments(folder / name, alignments)
            frames = sum(len(item.pdfs) for item in alignments)
            silence = sum(int(np.isin(item.pdfs, silence_pdfs).sum()) for item in alignments)
            metrics[name] = {
                "utterances": len(alignments),
                "frames": frames,
                "silence_share": round(silence / frames, 4),
                "rejected": len(bad),
            }
        write_rejected(folder / "rejected.tsv", rejected)
        if rejected:
            say(f"{len(rejected)} utterances could not be aligned and are left out: {run_dir}/align/rejected.tsv")
        for path in folder.glob("model-*.safetensors"):
            path.unlink()
        (folder / _PROGRESS).unlink()
        return metrics

    return build_artifact(
        run_dir,
        "align",
        stage="align",
        settings={"align": settings.align},
        inputs=inputs,
        rooms=("corpora", "features", "alignment"),
        work=work,
    )
