"""What the stages that train or apply networks share: one trained network as one artifact, outputs, measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.objectives import HARD, objective_of
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.evaluation.frame_accuracy import FrameScores, join_scores, score_frames
from kd_asr.features.inputs import Indexable
from kd_asr.features.store import FrameStore
from kd_asr.methods.hinton import distil
from kd_asr.networks.base import Network, count_parameters, network_class, view_of
from kd_asr.networks.base import new_network as drawn
from kd_asr.networks.files import save_network
from kd_asr.networks.inference import log_posteriors, log_posteriors_of_batch
from kd_asr.parallel import advance, announce, parallel_map
from kd_asr.ranks import ranks
from kd_asr.stages.settings import Settings
from kd_asr.stages.speech import LabelledSpeech, examples_of, labels, utterance_chunks
from kd_asr.training.distributed import together
from kd_asr.training.examples import Examples, batches_per_epoch
from kd_asr.training.fit import FitResult, Validation, fit, remove_checkpoint
from kd_asr.training.settings import TrainSettings

_PIECE = 4096
_MEASURED = 2048  # frames whose log-posteriors over thousands of pdfs stay in the cache


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
        aligned: artifact with the labels.
        together: all ranks train it, instead of one process.
    """

    run_dir: Path
    name: str
    stage: str
    seed: int
    targets: Literal["hard", "soft"]
    settings: Settings
    aligned: str = "align"
    together: bool = False


def log_posteriors_of_inputs(
    model: nn.Module, inputs: Sequence[torch.Tensor], *, precision: Literal["auto", "bf16", "fp32"]
) -> torch.Tensor:
    """(frames, pdfs) float32 log-posteriors of `View.utterances`."""
    found = [log_posteriors_of_batch(model, batch, precision=precision) for batch in inputs]
    return found[0] if len(found) == 1 else torch.cat(found)


def new_network(inputs: Indexable, num_pdfs: int, settings: Settings, seed: int) -> Network:
    """The network that `seed` draws, to be trained on these inputs; `as_saved` makes of it what is saved."""
    input_shape = view_of(settings.network).input_shape(settings.features.num_mel_bins)
    return drawn(settings.network, inputs, input_shape, num_pdfs, seed)


def train_networks(tasks: Sequence[NetworkTask], *, description: str) -> list[Artifact]:
    """Train networks in parallel processes of one thread each; those done before are left as they are.

    A single one, where there are several ranks, is trained by all of them together.
    """
    alignments = AlignmentStore.open(load_artifact(tasks[0].run_dir, tasks[0].aligned).path / "train")
    budget = tasks[0].settings.train
    batch = min(budget.batch_frames, len(labels(alignments)))
    total = updates_per_epoch(alignments, budget) * budget.epochs * batch
    if ranks().size > len(tasks) == 1:
        return [load_artifact(tasks[0].run_dir, _train_network(replace(tasks[0], together=True)))]
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


def updates_per_epoch(alignments: AlignmentStore, budget: TrainSettings) -> int:
    """Batches that make the training set's frames."""
    return batches_per_epoch(len(labels(alignments)), budget.batch_frames)


def _train_network(task: NetworkTask) -> str:
    """Train one network in this process and return the name of its artifact."""
    settings = task.settings
    inputs = [load_artifact(task.run_dir, name) for name in ("features", task.aligned)]
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
    elif _learns_from_copies(task):
        inputs.append(load_artifact(task.run_dir, "augment"))
    artifact = build_artifact(
        task.run_dir,
        task.name,
        code=[__name__, network_class(settings.network.name).__module__],
        settings=chosen,
        inputs=inputs,
        work=lambda folder: _work(folder, task, inputs),
    )
    return artifact.name


def _learns_from_copies(task: NetworkTask) -> bool:
    """Whether a network on hard labels has `augment`'s copies, whose labels are those of `align`."""
    return task.settings.augment.copies > 0 and task.aligned == "align"


def _work(folder: Path, task: NetworkTask, inputs: list[Artifact]) -> dict[str, Any]:
    if task.together:
        announce(_follow, (folder, task, inputs))
    with together() if task.together else nullcontext():
        model, result = _fit(folder, task, inputs)
    plain = model.as_saved()
    features = FrameStore.open(inputs[0].path / "train").features
    save_network(folder / "model.safetensors", plain, features)
    remove_checkpoint(folder)
    return _metrics(result, count_parameters(plain), (folder / "model.safetensors").stat().st_size)


def _follow(work: tuple[Path, NetworkTask, list[Artifact]]) -> None:
    """What the ranks beside rank 0 do when all train one network."""
    with together():
        _fit(*work)


def _fit(folder: Path, task: NetworkTask, inputs: list[Artifact]) -> tuple[Network, FitResult]:
    budget = task.settings.train
    features, aligned = inputs[0], inputs[1]
    topology = Topology.load(aligned.path / "topology.json")
    run_dir = task.run_dir
    augment = task.settings.augment
    train = LabelledSpeech.of_set(run_dir, "train", augment=augment, aligned=task.aligned)
    speech, posteriors = [train], None
    if task.targets == "soft":
        expected = {"features": features.fingerprint, "align": aligned.fingerprint}
        posteriors = PosteriorStore(inputs[2].path, expect=expected)
        copies = LabelledSpeech.of_copies(inputs[3])
        speech += [copies] if copies.alignments.utterance_ids else []
    elif _learns_from_copies(task):
        speech.append(LabelledSpeech.of_copies(inputs[2], augment=augment))
    examples = examples_of(speech, task.settings, posteriors=posteriors)
    dev = examples_of([LabelledSpeech.of_set(run_dir, "dev", aligned=task.aligned)], task.settings, measured=True)
    epoch_updates = updates_per_epoch(train.alignments, budget)
    model = new_network(examples.inputs, topology.num_pdfs, task.settings, task.seed)

    def validate(candidate: nn.Module) -> Validation:
        return measure(candidate, dev, precision=budget.precision)

    if posteriors is not None:
        result = distil(
            model,
            examples,
            task.settings.distil,
            budget,
            seed=task.seed,
            folder=folder,
            validate=validate,
            advance=advance,
            epoch_updates=epoch_updates,
        )
    else:
        result = fit(
            model,
            examples,
            objective_of(HARD),
            budget,
            seed=task.seed,
            folder=folder,
            validate=validate,
            advance=advance,
            epoch_updates=epoch_updates,
        )
    return model, result


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


def posteriors_by_group(
    models: Sequence[Network],
    store: FrameStore,
    alignments: AlignmentStore,
    utterance_ids: Sequence[str],
    *,
    precision: Literal["auto", "bf16", "fp32"],
) -> Iterator[tuple[list[str], list[torch.Tensor]]]:
    """Groups of consecutive utterances and every model's (frames, pdfs) log-posteriors of them.

    A group is so small that the outputs of ten networks stay in the processor's cache while they are used.
    """
    for names, _ in utterance_chunks(alignments, _PIECE, utterance_ids):
        yield names, posteriors_of(models, store, names, precision=precision)


def posteriors_of(
    models: Sequence[Network],
    store: FrameStore,
    utterance_ids: Sequence[str],
    *,
    precision: Literal["auto", "bf16", "fp32"],
) -> list[torch.Tensor]:
    """Every model's (frames, pdfs) float32 log-posteriors of some utterances, which each sees in its own view."""
    inputs = {view: view.utterances(store, utterance_ids) for view in {model.own_view for model in models}}
    return [log_posteriors_of_inputs(model, inputs[model.own_view], precision=precision) for model in models]


def score_utterances(alignments: AlignmentStore, utterance_ids: Sequence[str], log_probs: torch.Tensor) -> FrameScores:
    """Frame accuracy of (frames, pdfs) log-posteriors that belong to some utterances, one after the other."""
    scores, first = [], 0
    for name in utterance_ids:
        pdfs = alignments.pdfs(name)
        scores.append(score_frames(name, log_probs[first : first + len(pdfs)].numpy(), pdfs))
        first += len(pdfs)
    return join_scores(scores)


def measure(model: nn.Module, examples: Examples, *, precision: Literal["auto", "bf16", "fp32"]) -> Validation:
    """Accuracy (0..1) and mean cross-entropy (nats) over all labels."""
    correct, cross_entropy = 0, 0.0
    for part in torch.split(torch.arange(len(examples)), max(1, _MEASURED // examples.labels_per_example)):
        hard_labels = examples.hard_labels[part].long().flatten()
        log_probs = log_posteriors(model, examples.inputs, part, precision=precision)
        counted = hard_labels != UNLABELLED
        correct += int((log_probs.argmax(dim=1) == hard_labels).sum())
        of_labels = log_probs.gather(1, hard_labels.clamp(min=0)[:, None])[:, 0]
        cross_entropy -= float(of_labels[counted].sum())
    count = int((examples.hard_labels != UNLABELLED).sum())
    return Validation(correct / count, cross_entropy / count)
