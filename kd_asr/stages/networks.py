"""What the stages that train networks share: examples from the run folder, one trained network as one artifact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.config import NetworkSettings, Settings
from kd_asr.distillation.losses import hard_cross_entropy
from kd_asr.distillation.objectives import HardObjective
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.teachers import StoredTeacher
from kd_asr.evaluation.frame_accuracy import FrameScores, join_scores, score_frames
from kd_asr.features.store import FrameStore
from kd_asr.features.vocal_tract import WarpedWindows
from kd_asr.features.windows import FrameWindows
from kd_asr.methods.hinton import distil
from kd_asr.models.decorrelation import DecorrelatedDNN, on_inputs, principal_components
from kd_asr.models.dnn import SplicedDNN, count_parameters, seeded_dnn
from kd_asr.models.files import save_dnn
from kd_asr.models.inference import Indexable, log_posteriors, log_posteriors_of_batch
from kd_asr.parallel import advance, parallel_map
from kd_asr.training.examples import Examples, JoinedInputs, batches_per_epoch
from kd_asr.training.fit import FitResult, Validation, fit, remove_checkpoint

ROOMS = ("corpora", "features", "alignment", "models", "distillation", "training", "methods")
_PIECE = 4096


@dataclass(frozen=True)
class NetworkTask:
    """One network to train.

    Attributes:
        run_dir: folder of the run.
        name: of its artifact, such as `ensemble/member-03`.
        stage: that trains it.
        seed: of initial weights, order of the data and dropout.
        targets: hard labels alone, or the posterior store's soft targets as well.
        settings: of the run.
    """

    run_dir: Path
    name: str
    stage: str
    seed: int
    targets: Literal["hard", "soft"]
    settings: Settings


def windows(store: FrameStore, utterance_ids: Sequence[str], network: NetworkSettings) -> FrameWindows:
    """The inputs of a network for every frame of some utterances."""
    return FrameWindows(
        store, utterance_ids, left_context=network.left_context, right_context=network.right_context
    )


def labels(alignments: AlignmentStore) -> torch.Tensor:
    """(frames,) int32 pdf of every frame of the store, utterance after utterance."""
    return torch.from_numpy(np.concatenate([alignments.pdfs(name) for name in alignments.utterance_ids]))


def new_network(
    inputs: Indexable, num_pdfs: int, network: NetworkSettings, seed: int
) -> SplicedDNN | DecorrelatedDNN:
    """The network that `seed` draws, to be trained on these inputs, of which it sees the principal components if the
    settings ask for it; `on_inputs` makes of it what is saved.

    Raises:
        UserError: more components are asked for than there are inputs.
    """
    if network.principal_components == 0:
        return seeded_dnn(inputs[torch.zeros(1, dtype=torch.int64)].shape[1], num_pdfs, network, seed)
    components = principal_components(inputs, network.principal_components, network.whitening)
    return DecorrelatedDNN(seeded_dnn(network.principal_components, num_pdfs, network, seed), components)


def train_networks(tasks: Sequence[NetworkTask], *, description: str) -> list[Artifact]:
    """Train networks in parallel processes of one thread each; those done before are left as they are."""
    aligned = load_artifact(tasks[0].run_dir, "align")
    frames = len(labels(AlignmentStore.open(aligned.path / "train")))
    budget = tasks[0].settings.train
    batch = min(budget.batch_frames, frames)
    total = batches_per_epoch(frames, budget.batch_frames) * budget.epochs * batch
    names = parallel_map(
        _train_network,
        tasks,
        description=description,
        unit="frames",
        jobs=tasks[0].settings.jobs,
        amount=lambda task: total,
        self_reporting=True,
    )
    return [load_artifact(task.run_dir, name) for task, name in zip(tasks, names, strict=True)]


def _train_network(task: NetworkTask) -> str:
    """Train one network in this process and return the name of its artifact."""
    settings = task.settings
    inputs = [load_artifact(task.run_dir, name) for name in ("features", "align")]
    chosen: dict[str, object] = {
        "network": settings.network,
        "augment": settings.augment,
        "train": settings.train,
        "seed": task.seed,
    }
    if task.targets == "soft":
        inputs += [load_artifact(task.run_dir, name) for name in ("posteriors", "transfer")]
        chosen["distil"] = {
            "temperature": settings.distil.temperature,
            "soft_weight": settings.distil.soft_weight,
            "hard_weight": settings.distil.hard_weight,
        }
    artifact = build_artifact(
        task.run_dir,
        task.name,
        stage=task.stage,
        settings=chosen,
        inputs=inputs,
        rooms=ROOMS,
        shared=("networks",),
        work=lambda folder: _work(folder, task, inputs),
    )
    return artifact.name


def _work(folder: Path, task: NetworkTask, inputs: list[Artifact]) -> dict[str, Any]:
    network, budget = task.settings.network, task.settings.train
    features, aligned = inputs[0], inputs[1]
    topology = Topology.load(aligned.path / "topology.json")

    def examples(name: str, *, largest_warp: float) -> Examples:
        alignments = AlignmentStore.open(aligned.path / name)
        seen = windows(FrameStore.open(features.path / name), alignments.utterance_ids, network)
        inputs = WarpedWindows(seen, largest_warp, task.settings.features) if largest_warp > 0 else seen
        return Examples(inputs, labels(alignments))

    train = examples("train", largest_warp=task.settings.augment.vocal_tract_warp)
    dev = examples("dev", largest_warp=0.0)
    store = FrameStore.open(features.path / "train")
    model = new_network(train.inputs, topology.num_pdfs, network, task.seed)

    def validate(candidate: nn.Module) -> Validation:
        return measure(candidate, dev, precision=budget.precision)

    if task.targets == "soft":
        posteriors = PosteriorStore(
            inputs[2].path, expect={"features": features.fingerprint, "align": aligned.fingerprint}
        )
        result = distil(
            model,
            transfer_examples(inputs[3].path, train, AlignmentStore.open(aligned.path / "train"), posteriors, network),
            task.settings.distil,
            budget,
            seed=task.seed,
            folder=folder,
            validate=validate,
            advance=advance,
            epoch_updates=batches_per_epoch(len(train), budget.batch_frames),
        )
    else:
        result = fit(
            model,
            train,
            HardObjective(),
            budget,
            seed=task.seed,
            folder=folder,
            validate=validate,
            advance=advance,
        )
    plain = on_inputs(model)
    save_dnn(folder / "model.safetensors", plain, network, store.features)
    remove_checkpoint(folder)
    return _metrics(result, count_parameters(plain), (folder / "model.safetensors").stat().st_size)


def _metrics(result: FitResult, parameters: int, size: int) -> dict[str, Any]:
    assert result.best is not None  # these networks are measured on dev after every epoch
    return {
        "parameters": parameters,
        "bytes": size,
        "updates": result.updates,
        "best_epoch": result.best_epoch,
        "frames_per_second": round(result.examples_per_second),
        "dev_frame_accuracy": result.best.accuracy,
        "dev_cross_entropy": result.best.cross_entropy,
    }


def utterance_chunks(
    alignments: AlignmentStore, frames: int, utterance_ids: Sequence[str] | None = None
) -> list[tuple[list[str], int]]:
    """Consecutive utterances, all or some, and their frames, cut as soon as there are `frames` of them."""
    chunks: list[tuple[list[str], int]] = []
    names: list[str] = []
    count = 0
    for name in alignments.utterance_ids if utterance_ids is None else utterance_ids:
        names.append(name)
        count += len(alignments.pdfs(name))
        if count >= frames:
            chunks.append((names, count))
            names, count = [], 0
    return [*chunks, (names, count)] if names else chunks


def posteriors_by_group(
    models: Sequence[nn.Module],
    store: FrameStore,
    alignments: AlignmentStore,
    utterance_ids: Sequence[str],
    *,
    network: NetworkSettings,
    precision: Literal["auto", "bf16", "fp32"],
) -> Iterator[tuple[list[str], list[torch.Tensor]]]:
    """Groups of consecutive utterances and every model's (frames, pdfs) log-posteriors of them.

    A group is so small that the outputs of ten networks stay in the processor's cache while they are used.
    """
    for names, frames in utterance_chunks(alignments, _PIECE, utterance_ids):
        batch = windows(store, names, network)[torch.arange(frames)]
        yield names, [log_posteriors_of_batch(model, batch, precision=precision) for model in models]


def score_utterances(alignments: AlignmentStore, utterance_ids: Sequence[str], log_probs: torch.Tensor) -> FrameScores:
    """Frame accuracy of (frames, pdfs) log-posteriors that belong to some utterances, one after the other."""
    scores, first = [], 0
    for name in utterance_ids:
        pdfs = alignments.pdfs(name)
        scores.append(score_frames(name, log_probs[first : first + len(pdfs)].numpy(), pdfs))
        first += len(pdfs)
    return join_scores(scores)


def transfer_examples(
    transfer: Path, train: Examples, alignments: AlignmentStore, posteriors: PosteriorStore, network: NetworkSettings
) -> Examples:
    """What a student learns from: the training frames and those of their copies, with the teacher's posteriors.

    Args:
        transfer: folder of the artifact.
        train: training frames, in the order of `alignments`.
        alignments: of the training set.
        posteriors: of both.
        network: architecture.
    """
    copied = AlignmentStore.open(transfer / "alignments")
    if not copied.utterance_ids:
        return replace(train, teacher=StoredTeacher(posteriors, alignments.utterance_ids))
    copies = windows(FrameStore.open(transfer / "frames"), copied.utterance_ids, network)
    return Examples(
        JoinedInputs(train.inputs, copies),
        torch.cat([train.hard_labels, labels(copied)]),
        StoredTeacher(posteriors, [*alignments.utterance_ids, *copied.utterance_ids]),
    )


def measure(model: nn.Module, examples: Examples, *, precision: Literal["auto", "bf16", "fp32"]) -> Validation:
    """Accuracy (0..1) and mean cross-entropy (nats) over all examples."""
    correct, cross_entropy = 0, 0.0
    for part in torch.split(torch.arange(len(examples)), _PIECE):
        hard_labels = examples.hard_labels[part].long()
        log_probs = log_posteriors(model, examples.inputs, part, precision=precision)
        correct += int((log_probs.argmax(dim=1) == hard_labels).sum())
        cross_entropy += float(hard_cross_entropy(log_probs, hard_labels).sum())
    return Validation(correct / len(examples), cross_entropy / len(examples))
