"""Training of the aligner step by step, and alignment of sets, in parallel processes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.settings import AlignSettings
from kd_asr.alignment.store import Alignment, AlignmentStore, write_alignments
from kd_asr.alignment.topology import Topology
from kd_asr.alignment.training import (
    AlignerModel,
    PassResult,
    Sample,
    Step,
    Transitions,
    discriminant_model,
    equal_path,
    first_model,
    gaussians_after,
    model_path,
    next_model,
    run_pass,
    schedule,
    state_tree,
)
from kd_asr.alignment.tree import StateTree
from kd_asr.alignment.tying import tied_path
from kd_asr.alignment.viterbi import BestPath
from kd_asr.artifacts import read_json, write_json
from kd_asr.corpora.manifest import Utterance
from kd_asr.errors import UserError
from kd_asr.features.store import FrameStore
from kd_asr.parallel import advance, parallel_map
from kd_asr.stages.settings import Settings

# Sums of shards are added in order, so the shards decide the last bits, not the number of processes.
SHARDS = 16
SHARD_FRAMES = 100_000
_PROGRESS = "progress.json"
_LABELS = "labels"
_ENTERED = "entered.u8"


@dataclass(frozen=True)
class Task:
    """What every process of the stage needs.

    Attributes:
        features: Folder of the frame stores.
        folder: Folder that the stage writes into.
        lexicon: Pronunciations of the words of all transcripts.
        phones: Phones of the topology, silence first.
        settings: Settings of the run.
    """

    features: Path
    folder: Path
    lexicon: Lexicon
    phones: tuple[str, ...]
    settings: Settings


@dataclass(frozen=True)
class _Shard:
    """Some utterances of a set; the shards do not depend on the number of processes."""

    set_name: str
    utterances: list[Utterance]
    frames: int


@dataclass(frozen=True)
class _Worker:
    task: Task
    model: AlignerModel

    @property
    def align(self) -> AlignSettings:
        return self.task.settings.align

    def samples(self, shard: _Shard) -> list[Sample]:
        store = FrameStore.open(self.task.features / shard.set_name)
        return [Sample(store.frames(item.utterance_id), item.words) for item in shard.utterances]


_worker: _Worker


def _load(task: Task, model: str) -> None:
    global _worker  # noqa: PLW0603 - one per process
    _worker = _Worker(task, AlignerModel.load(task.folder / model))


def train(task: Task, utterances: list[Utterance]) -> list[dict[str, Any]]:
    """Train `model.safetensors` in all steps; an interrupted training resumes after the last finished step.

    Returns:
        Figures of each step: its kind, log-likelihood per frame in nats (of the model it began with; of every EM pass
        for discriminants), Gaussians, frames and utterances that could not be aligned.

    Raises:
        UserError: no utterance can be aligned.
    """
    align, folder = task.settings.align, task.folder
    store = FrameStore.open(task.features / "train")
    early = _shortest(utterances, store, align.early_minutes * 60_000 / task.settings.features.frame_shift_ms)
    progress = folder / _PROGRESS
    done: list[dict[str, Any]] = read_json(progress) if progress.exists() else []
    if not done:
        first = first_model(task.phones, (store.frames(item.utterance_id) for item in early))
        first.save(folder / _model_name(0))
    steps = schedule(align)
    for number in range(len(done), len(steps)):
        step, title = steps[number], f"align {number + 1}/{len(steps)} {steps[number]}"
        if step in ("discriminants", "tie"):
            model, figures = _discriminants(task, utterances, number, title, step)
        else:
            model, figures = _em_pass(task, early, number, title, step)
        model.save(folder / _model_name(number + 1))
        done.append({"step": step, **figures, "gaussians": len(model.mixtures.pdf)})
        write_json(progress, done)
    shutil.copyfile(folder / _model_name(len(steps)), folder / "model.safetensors")
    return done


def remove_progress(folder: Path) -> None:
    """Delete files that only an interrupted training would need."""
    for path in folder.glob("model-*.safetensors"):
        path.unlink()
    (folder / _PROGRESS).unlink()
    shutil.rmtree(folder / _LABELS, ignore_errors=True)


def align_set(task: Task, set_name: str, utterances: Sequence[Utterance]) -> Iterator[Alignment | None]:
    """Align a set with `model.safetensors`, shard by shard; None for an utterance without a path."""
    paths = _paths(task, set_name, utterances, "model.safetensors", f"align {set_name}")
    for item, path in zip(utterances, paths, strict=True):
        yield None if path is None else Alignment(item.utterance_id, path.pdfs, path.phones)


def _model_name(number: int) -> str:
    return f"model-{number:02d}.safetensors"


def _no_path(set_name: str) -> UserError:
    return UserError(f"no utterance of {set_name} could be aligned: do transcripts and audio belong together?")


def _shortest(utterances: Sequence[Utterance], store: FrameStore, frames: float) -> list[Utterance]:
    """The shortest utterances with `frames` frames together, in order; equal shares of states are least wrong there."""
    by_length = sorted(utterances, key=lambda item: (store.num_frames(item.utterance_id), item.utterance_id))
    ends = np.cumsum([store.num_frames(item.utterance_id) for item in by_length])
    chosen = {item.utterance_id for item in by_length[: int(np.searchsorted(ends, frames)) + 1]}
    return [item for item in utterances if item.utterance_id in chosen]


def _shards(set_name: str, utterances: Sequence[Utterance], store: FrameStore) -> list[_Shard]:
    """Consecutive utterances in shards of about equal length, whose number depends only on the amount of speech."""
    frames = np.array([store.num_frames(item.utterance_id) for item in utterances], dtype=np.int64)
    count = max(SHARDS, int(frames.sum()) // SHARD_FRAMES)
    number = (np.cumsum(frames) - frames) * count // max(1, int(frames.sum()))
    return [
        _Shard(set_name, [utterances[index] for index in members], int(frames[members].sum()))
        for members in (np.flatnonzero(number == shard).tolist() for shard in range(count))
        if members
    ]


def _em_pass(
    task: Task, utterances: Sequence[Utterance], number: int, title: str, step: Step
) -> tuple[AlignerModel, dict[str, Any]]:
    shards = _shards("train", utterances, FrameStore.open(task.features / "train"))
    total: PassResult | None = None
    for result in parallel_map(
        partial(_pass_over, step=step),
        shards,
        description=title,
        unit="frames",
        jobs=task.settings.jobs,
        amount=lambda shard: shard.frames,
        initializer=_load,
        initargs=(task, _model_name(number)),
    ):
        if total is None:
            total = result
        else:
            total += result
    if total is None or total.statistics.frames == 0:
        raise _no_path("train")
    model = AlignerModel.load(task.folder / _model_name(number))
    gaussians = gaussians_after(number, task.settings.align, model.topology.num_pdfs)
    statistics = total.statistics
    figures = {
        "log_likelihood_per_frame": round(statistics.log_likelihood / statistics.frames, 4),
        "frames": statistics.frames,
        "failed": total.failed,
    }
    return next_model(model, total, gaussians), figures


def _pass_over(shard: _Shard, *, step: Step) -> PassResult:
    model, lexicon, align = _worker.model, _worker.task.lexicon, _worker.align

    def find_path(sample: Sample) -> BestPath | None:
        if step == "equal":
            return equal_path(sample, lexicon, model.topology)
        return model_path(model, sample, lexicon, align)

    return run_pass(model, _worker.samples(shard), find_path)


def _discriminants(
    task: Task, utterances: Sequence[Utterance], number: int, title: str, step: Step
) -> tuple[AlignerModel, dict[str, Any]]:
    model = AlignerModel.load(task.folder / _model_name(number))
    topology = model.topology
    found = _paths(task, "train", utterances, _model_name(number), title)
    paths = ((item.utterance_id, path) for item, path in zip(utterances, found, strict=True) if path is not None)
    labels = _Labels.write(task.folder / _LABELS, paths, topology)
    if not labels.utterances:
        raise _no_path("train")
    if step == "tie":
        tree: StateTree = _in_one_process(_tie, model, task, number, f"{title}, tree")
        topology = Topology.uniform(topology.phones, tree=tree)
        tied = ((name, tied_path(path, topology)) for name, path in labels.paths())
        temporary = task.folder / f"tied_{_LABELS}"
        labels = _Labels.write(temporary, tied, topology)
        shutil.rmtree(task.folder / _LABELS)
        temporary.rename(task.folder / _LABELS)
    topology = labels.transitions.apply(topology)
    model, log_likelihoods = _in_one_process(_fit, topology, task, number, f"{title}, fit")
    figures = {
        "log_likelihood_per_frame": [round(value, 4) for value in log_likelihoods],
        "frames": labels.frames,
        "failed": len(utterances) - labels.utterances,
    }
    return model, figures


@dataclass
class _Labels:
    """Paths of the training set on disk, and what is counted as they are written.

    Attributes:
        folder: Alignment store, with the first frames of states in `entered.u8`, a byte a frame.
        transitions: Of all paths.
        utterances: Number of them.
        frames: Number of theirs.
    """

    folder: Path
    transitions: Transitions
    utterances: int = 0
    frames: int = 0

    @classmethod
    def write(cls, folder: Path, paths: Iterable[tuple[str, BestPath]], topology: Topology) -> _Labels:
        """Write the paths of utterances, one after the other."""
        labels = cls(folder, Transitions.zeros(topology.num_pdfs))
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _ENTERED).open("wb") as entered:

            def counted() -> Iterator[Alignment]:
                for name, path in paths:
                    labels.transitions.add(path)
                    labels.utterances += 1
                    labels.frames += len(path.pdfs)
                    entered.write(path.entered.tobytes())
                    yield Alignment(name, path.pdfs, path.phones)

            write_alignments(folder, counted())
        return labels

    def paths(self) -> Iterator[tuple[str, BestPath]]:
        """The paths again."""
        store = AlignmentStore.open(self.folder)
        with (self.folder / _ENTERED).open("rb") as file:
            for name in store.utterance_ids:
                pdfs = store.pdfs(name)
                entered = np.frombuffer(file.read(len(pdfs)), dtype=np.bool_)
                yield name, BestPath(pdfs, tuple(store.phones(name)), entered, 0.0)


def _in_one_process(function: Callable[[Any], Any], item: object, task: Task, number: int, title: str) -> Any:
    """Run `function` in a separate process with one thread, so that sums are always the same."""
    (result,) = parallel_map(
        function,
        [item],
        description=title,
        unit="%",
        jobs=1,
        amount=lambda item: 100,
        self_reporting=True,
        initializer=_load,
        initargs=(task, _model_name(number)),
    )
    return result


def _tie(model: AlignerModel) -> StateTree:
    labels = AlignmentStore.open(_worker.task.folder / _LABELS)
    store = FrameStore.open(_worker.task.features / "train")
    tree = state_tree(
        model, labels.utterance_ids, store.frames, labels.pdfs, labels.phones, settings=_worker.align
    )
    advance(100)
    return tree


def _fit(topology: Topology) -> tuple[AlignerModel, list[float]]:
    labels = AlignmentStore.open(_worker.task.folder / _LABELS)
    store = FrameStore.open(_worker.task.features / "train")
    align = _worker.align
    return discriminant_model(
        topology,
        labels.utterance_ids,
        store.frames,
        labels.pdfs,
        gaussians=align.gaussians if topology.tree is None else align.tied_gaussians,
        advance=lambda share: advance(100 * share),
    )


def _paths(
    task: Task, set_name: str, utterances: Sequence[Utterance], model: str, title: str
) -> Iterator[BestPath | None]:
    shards = _shards(set_name, utterances, FrameStore.open(task.features / set_name))
    found = parallel_map(
        _align,
        shards,
        description=title,
        unit="frames",
        jobs=task.settings.jobs,
        amount=lambda shard: shard.frames,
        initializer=_load,
        initargs=(task, model),
    )
    return chain.from_iterable(found)


def _align(shard: _Shard) -> list[BestPath | None]:
    samples = _worker.samples(shard)
    return [model_path(_worker.model, sample, _worker.task.lexicon, _worker.align) for sample in samples]
