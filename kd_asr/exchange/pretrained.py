"""Stage `pretrained`: the posteriors of a model that others have trained, and soft targets in our classes from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json, write_array, write_json
from kd_asr.console import SPEECH, say
from kd_asr.corpora.manifest import Utterance, read_manifest
from kd_asr.corpora.sound import UnusableAudio
from kd_asr.distillation.outside.maps import Misfit
from kd_asr.distillation.outside.soft_map import SoftMap, Sparse, learn_map, views_of
from kd_asr.distillation.posterior_store import PosteriorStore, encode, finish_store, write_shard
from kd_asr.distillation.signal import tail_sum, top_k_targets
from kd_asr.distillation.teachers.pretrained import TARGETS, PretrainedSettings, PretrainedTeacher
from kd_asr.errors import UserError
from kd_asr.features.frames import read_audio
from kd_asr.features.parts import Part, read_parts
from kd_asr.features.perturbation import draw, perturb
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore
from kd_asr.parallel import parallel_map
from kd_asr.pretrained.base import Pretrained, identity, open_model
from kd_asr.registry import Named, find
from kd_asr.stages.copies import spread_of_copies
from kd_asr.stages.settings import Settings
from kd_asr.tasks.speech import PARTS

OWN = "pretrained"
MODEL = "model.json"
_SHARD_SECONDS = 120.0
_MOST_SHARDS = 1000
_SHARD_FRAMES = 20_000


def pretrained(run_dir: Path, settings: Settings) -> Artifact | None:
    """Write `pretrained/`, the posteriors of `distil.teacher.pretrained.model` in its own classes and frames, and
    `pretrained_targets/`, those of all frames that students learn from in ours; nothing where there is no such teacher.

    Raises:
        UserError: the model cannot be loaded, or its posteriors do not fit our frames.
    """
    teacher = settings.distil.teacher
    if not issubclass(find("teacher", teacher.name), PretrainedTeacher):
        return None
    own: PretrainedSettings = teacher.settings
    _ask(run_dir, settings, own)
    return _targets(run_dir, settings, own)


@dataclass(frozen=True)
class _Audio:
    """An utterance, or a piece of unlabelled audio."""

    name: str
    path: str
    first_sample: int
    num_samples: int | None
    seconds: float


_model: Pretrained


def _load(model: Named) -> None:
    global _model  # noqa: PLW0603 - one per process
    torch.set_num_threads(1)
    _model = open_model(model, "posteriors")


def _ask(run_dir: Path, settings: Settings, own: PretrainedSettings) -> Artifact:
    """Ask the model about train, dev and unlabelled audio, shard by shard; those that are there are kept."""
    inputs = [load_artifact(run_dir, "prepare")]
    if settings.unlabelled_folders:
        inputs.append(load_artifact(run_dir, "unlabelled"))

    def work(folder: Path) -> dict[str, Any]:
        items = list(_audio(run_dir, settings))
        seconds = sum(item.seconds for item in items)
        shards = _in_shards(items, max(_SHARD_SECONDS, seconds / _MOST_SHARDS))
        for _ in parallel_map(
            partial(_compute, folder=folder, keep=own.keep),
            list(enumerate(shards)),
            description=f"posteriors of {own.model.name}",
            unit=SPEECH,
            jobs=settings.jobs,
            amount=lambda shard: sum(item.seconds for item in shard[1]),
            initializer=_load,
            initargs=(own.model,),
        ):
            pass
        made = [read_json(folder / f"frames-{number:05d}.json") for number in range(len(shards))]
        write_json(folder / MODEL, {key: made[0][key] for key in ("frame_shift", "blanks")})
        tail = torch.tensor([one["tail"] for one in made], dtype=torch.float64).sum(dim=0)
        finish_store(
            folder,
            [item.name for item in items],
            [count for one in made for count in one["frames"]],
            shard_frames=[sum(one["frames"]) for one in made],
            top_k=min(own.keep, len(tail)),
            tail_prior=tail,
            fingerprints={},
        )
        for number in range(len(shards)):
            (folder / f"frames-{number:05d}.json").unlink()
        store = PosteriorStore(folder)
        frames = sum(count for one in made for count in one["frames"])
        return {
            "seconds": round(seconds, 3), "frames": frames, "classes": store.num_classes, "top_k": store.top_k,
            "mass_kept": store.mean_mass_kept(),
        }  # fmt: skip

    return build_artifact(
        run_dir, OWN, code=[__name__, find("pretrained", own.model.name).__module__],
        settings={**identity(own.model), "keep": own.keep}, inputs=inputs, work=work,
    )  # fmt: skip


def _audio(run_dir: Path, settings: Settings) -> Iterator[_Audio]:
    """All audio that the model is asked about."""
    for set_name in ("train", "dev"):
        used = set(FrameStore.open(run_dir / "features" / set_name).utterance_ids)
        for item in read_manifest(run_dir / "prepare" / f"{set_name}.jsonl"):
            if item.utterance_id in used:
                yield _Audio(item.utterance_id, item.audio_path, item.first_sample or 0, item.num_samples, item.seconds)
    if settings.unlabelled_folders:
        store = FrameStore.open(run_dir / "unlabelled" / "frames")
        pieces: dict[str, list[str]] = {}
        for name in store.utterance_ids:
            if "+" not in name.rsplit("-", 1)[-1]:
                pieces.setdefault(name.rsplit("-", 1)[0], []).append(name)
        for item in read_manifest(run_dir / "unlabelled" / "files.jsonl"):
            yield from _pieces(item, pieces[item.utterance_id], store, settings.features)


def _pieces(item: Utterance, names: Sequence[str], store: FrameStore, features: FeatureSettings) -> Iterator[_Audio]:
    """The pieces of a file, in the samples that their frames cover."""
    counts = [store.num_frames(name) for name in names]
    for name, count, end in zip(names, counts, accumulate(counts), strict=True):
        first = round((end - count) * features.frame_shift * item.sample_rate)
        length = round((count * features.frame_shift + features.frame_length_ms / 1000) * item.sample_rate)
        length = min(length, item.num_samples - first)
        yield _Audio(name, item.audio_path, first, length, length / item.sample_rate)


def _in_shards(items: Sequence[_Audio], least: float) -> list[list[_Audio]]:
    shards: list[list[_Audio]] = [[]]
    for item in items:
        if sum(one.seconds for one in shards[-1]) >= least:
            shards.append([])
        shards[-1].append(item)
    return shards


def _compute(shard: tuple[int, list[_Audio]], *, folder: Path, keep: int) -> None:
    number, items = shard
    done = folder / f"frames-{number:05d}.json"
    if done.exists():  # written after the shard, by an interrupted run
        return
    counts: list[int] = []
    tail = torch.zeros(_model.num_classes, dtype=torch.float64)

    def rows() -> Iterator[np.ndarray]:
        for item in items:
            try:
                samples = read_audio(
                    item.path, _model.sample_rate, first_sample=item.first_sample, num_samples=item.num_samples
                )
            except UnusableAudio as error:
                raise UserError(f"{item.path} has changed since `prepare` ({error}): run it again") from error
            found = torch.from_numpy(_model.log_posteriors(samples))
            targets = top_k_targets(found, min(keep, _model.num_classes))
            tail.add_(tail_sum(found, targets.classes))
            counts.append(len(found))
            yield encode(targets)

    write_shard(folder, number, rows())
    write_json(
        done,
        {"frames": counts, "tail": tail.tolist(), "frame_shift": _model.frame_shift, "blanks": list(_model.blanks)},
    )


class _Asked:
    """What the model says of our frames."""

    def __init__(self, folder: Path, settings: Settings, own: PretrainedSettings) -> None:
        self._store, about = PosteriorStore(folder), read_json(folder / MODEL)
        self._their_shift, self._blanks = float(about["frame_shift"]), list(about["blanks"])
        self._shift, self._slack, self._name = settings.features.frame_shift, own.slack, own.model.name

    def of(self, name: str, frames: int) -> list[Sparse]:
        """Its views of an utterance.

        Raises:
            UserError: it ends at another time.
        """
        rows = self._store.rows(name)
        targets = self._store.targets(torch.arange(rows.start, rows.stop))
        try:
            return views_of(
                targets, self._blanks, frames, shift=self._shift, their_shift=self._their_shift, slack=self._slack
            )
        except Misfit as fault:
            raise UserError(
                f"the posteriors of {self._name} do not fit {name}: {fault}; see distil.teacher.pretrained.slack"
            ) from fault


def _targets(run_dir: Path, settings: Settings, own: PretrainedSettings) -> Artifact:
    """Learn the map on train, judge it on dev, and write the soft targets of all frames that students learn from."""
    extracted, aligned, copied = (load_artifact(run_dir, name) for name in ("features", "align", "transfer"))
    inputs = [load_artifact(run_dir, OWN), extracted, aligned, copied]
    unlabelled = bool(settings.unlabelled_folders)
    if unlabelled or own.ensemble_share:
        inputs.append(load_artifact(run_dir, "posteriors"))

    def work(folder: Path) -> dict[str, Any]:
        asked = _Asked(run_dir / OWN, settings, own)
        num_classes = Topology.load(aligned.path / "topology.json").num_pdfs
        found = _map(asked, AlignmentStore.open(aligned.path / "train"), own, num_classes)
        for number, matrix in enumerate(found.matrices):
            write_array(folder / f"map-{number}.npy", matrix.astype(np.float32))
        on_dev = _judge(asked, AlignmentStore.open(aligned.path / "dev"), found)
        say(
            f"{own.model.name} in our classes: frame accuracy {100 * on_dev['dev_accuracy']:.2f} % and cross-entropy "
            f"{on_dev['dev_cross_entropy']:.3f} on dev"
        )
        ensemble = PosteriorStore(run_dir / "posteriors") if own.ensemble_share else None
        top_k = min(settings.ensemble.top_k, num_classes)
        names: list[str] = []
        counts: list[int] = []
        shards = [0]
        tail = torch.zeros(num_classes, dtype=torch.float64)
        blocks: list[np.ndarray] = []
        for name, mapped in _all_frames(run_dir, settings, asked, found):
            probabilities = mapped
            if ensemble is not None:
                rows = ensemble.rows(name)
                ours = ensemble.targets(torch.arange(rows.start, rows.stop)).dense_log_probs(1.0).exp().double().numpy()
                probabilities = own.ensemble_share * ours + (1 - own.ensemble_share) * mapped
            logs = torch.from_numpy(np.log(np.maximum(probabilities, 1e-30))).float()
            targets = top_k_targets(logs, top_k)
            tail += tail_sum(logs, targets.classes)
            names.append(name)
            counts.append(len(logs))
            blocks.append(encode(targets))
            shards[-1] += len(logs)
            if shards[-1] >= _SHARD_FRAMES:
                write_shard(folder, len(shards) - 1, blocks)
                blocks, shards = [], [*shards, 0]
        write_shard(folder, len(shards) - 1, blocks)
        finish_store(
            folder, names, counts, shard_frames=shards, top_k=top_k, tail_prior=tail,
            fingerprints={"features": extracted.fingerprint, "align": aligned.fingerprint},
        )  # fmt: skip
        return {"frames": sum(counts), "utterances": len(names), **on_dev}

    return build_artifact(
        run_dir,
        TARGETS,
        code=__name__,
        settings={
            "teacher": replace(own, model=Named("pretrained", own.model.name, None)),  # which has made the posteriors
            "top_k": settings.ensemble.top_k,
            "seed": settings.seed if settings.distil.copies else None,
            "spread": spread_of_copies(settings) if settings.distil.copies else None,
        },
        inputs=inputs,
        work=work,
    )


def _map(asked: _Asked, aligned: AlignmentStore, own: PretrainedSettings, num_classes: int) -> SoftMap:
    """The map that evenly spread utterances of train teach."""
    counts = [len(aligned.pdfs(name)) for name in aligned.utterance_ids]
    names = aligned.utterance_ids[:: max(1, -(-sum(counts) // own.map_frames))]
    labels = [np.asarray(aligned.pdfs(name)).astype(np.int64) for name in names]
    views = [asked.of(name, len(of_name)) for name, of_name in zip(names, labels, strict=True)]
    return learn_map(views, labels, num_classes)


def _judge(asked: _Asked, aligned: AlignmentStore, found: SoftMap) -> dict[str, float]:
    """Frame accuracy and cross-entropy of the mapped posteriors."""
    right, loss, count = 0, 0.0, 0
    for name in aligned.utterance_ids:
        labels = np.asarray(aligned.pdfs(name)).astype(np.int64)
        mapped = found.apply(asked.of(name, len(labels)))
        right += int((mapped.argmax(axis=1) == labels).sum())
        loss -= float(np.log(np.maximum(mapped[np.arange(len(labels)), labels], 1e-30)).sum())
        count += len(labels)
    return {"dev_accuracy": right / count, "dev_cross_entropy": loss / count}


def _all_frames(
    run_dir: Path, settings: Settings, asked: _Asked, found: SoftMap
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """(name, (frames, classes) probabilities) of each utterance of train, its copies, and parts of unlabelled audio."""
    aligned = AlignmentStore.open(run_dir / "align" / "train")
    spread, features = spread_of_copies(settings), settings.features
    for name in aligned.utterance_ids:
        frames = len(aligned.pdfs(name))
        mapped = found.apply(asked.of(name, frames))
        yield name, mapped
        for number in range(1, settings.distil.copies + 1):
            perturbation = draw(spread, seed=settings.seed, utterance_id=name, copy=number)
            blank = np.zeros((frames, features.num_mel_bins), dtype=np.float32)
            yield f"{name}+{number}", mapped[perturb(blank, perturbation, features)[1]]
    if settings.unlabelled_folders:
        yield from _unlabelled(run_dir, settings, asked, found)


def _unlabelled(
    run_dir: Path, settings: Settings, asked: _Asked, found: SoftMap
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    store, parts = FrameStore.open(run_dir / "unlabelled" / "frames"), read_parts(run_dir / "posteriors" / PARTS)
    spread, features = spread_of_copies(settings), settings.features
    by_piece: dict[str, list[Part]] = {}
    for part in parts:
        by_piece.setdefault(part.utterance_id, []).append(part)
    for name, of_piece in by_piece.items():
        piece, _, copy = name.partition("+")
        mapped = found.apply(asked.of(piece, store.num_frames(piece)))
        if copy:
            perturbation = draw(spread, seed=settings.seed, utterance_id=piece, copy=int(copy))
            blank = np.zeros((len(mapped), features.num_mel_bins), dtype=np.float32)
            mapped = mapped[perturb(blank, perturbation, features)[1]]
        for part in of_piece:
            yield part.name, mapped[part.first_frame : part.first_frame + part.frames]
