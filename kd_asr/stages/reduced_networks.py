"""Networks that see the labels of a part of the training set: trained on hard labels, soft targets, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, write_json
from kd_asr.corpora.manifest import read_manifest
from kd_asr.corpora.subsets import subset_of_frames, subset_of_utterances
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.errors import UserError
from kd_asr.evaluation.frame_accuracy import join_scores
from kd_asr.features.store import FrameStore
from kd_asr.methods.reduced_data import ARMS, Arm, examples_of_arm, objective_of_arm
from kd_asr.networks.base import Network, network_class, view_of
from kd_asr.networks.files import save_network
from kd_asr.parallel import advance, parallel_map
from kd_asr.stages.networks import measure, new_network, posteriors_by_group, score_utterances
from kd_asr.stages.settings import Settings
from kd_asr.stages.speech import LabelledSpeech, examples_of, labels
from kd_asr.stages.systems import as_student, network_seed
from kd_asr.training.examples import Examples, batches_per_epoch
from kd_asr.training.fit import Validation, fit, remove_checkpoint
from kd_asr.training.schedule import measuring_points

BEST, LAST = "best.safetensors", "last.safetensors"
# Frames of the part whose accuracy is followed during training.
_FOLLOWED = 10_000


@dataclass(frozen=True)
class ReducedTask:
    """One network to train.

    Attributes:
        run_dir: folder of the run.
        fraction: of the training set that has labels.
        arm: what it learns from: hard labels, soft targets or both on the labelled part; or soft targets on
            everything, with the part's hard labels.
        repetition: decides the part and the initial weights.
        settings: of the run.
    """

    run_dir: Path
    fraction: float
    arm: Arm
    repetition: int
    settings: Settings

    @property
    def name(self) -> str:
        """Of the artifact."""
        draw = self.settings.reduced.draw
        return f"reduced_networks/{draw}-{self.fraction:g}-{self.arm}-{self.repetition}"


@dataclass(frozen=True)
class Part:
    """A part of the training set.

    Attributes:
        frames: (labelled,) int64, numbers of its frames among all training frames, ascending.
        utterance_ids: that they are from.
    """

    frames: Tensor
    utterance_ids: list[str]


def draw_part(alignments: AlignmentStore, settings: Settings, fraction: float, repetition: int) -> Part:
    """The part of the training set that a repetition leaves labelled."""
    counts = [len(alignments.pdfs(name)) for name in alignments.utterance_ids]
    firsts = np.cumsum([0, *counts])
    seed = network_seed(settings.seed, f"reduced/part-{repetition}")
    if settings.reduced.draw == "frames":
        frames = subset_of_frames(sum(counts), fraction, seed=seed)
        numbers = np.unique(np.searchsorted(firsts, frames, side="right") - 1)
    else:
        numbers = subset_of_utterances(counts, fraction, seed=seed)
        frames = np.concatenate([np.arange(firsts[number], firsts[number + 1]) for number in numbers])
    return Part(torch.from_numpy(frames), [alignments.utterance_ids[number] for number in numbers])


def reduced_tasks(run_dir: Path, settings: Settings) -> list[ReducedTask]:
    """All networks of the experiment; with all labels there is nothing beyond the part to be soft about."""
    return [
        ReducedTask(run_dir, fraction, arm, repetition, as_student(settings, "hard"))
        for fraction in settings.reduced.fractions
        for arm in ARMS
        for repetition in range(settings.reduced.seeds)
        if not (fraction == 1.0 and arm == "soft_everywhere")
    ]


def reduced_updates(settings: Settings, frames: int) -> int:
    """Updates of every network, of whatever part, when the whole training set has so many frames."""
    return max(1, round(settings.reduced.epochs * batches_per_epoch(frames, settings.train.batch_frames)))


def train_reduced(tasks: Sequence[ReducedTask]) -> list[Artifact]:
    """Train networks in parallel processes of one thread each; those done before are left as they are."""
    settings, run_dir = tasks[0].settings, tasks[0].run_dir
    alignments = AlignmentStore.open(load_artifact(run_dir, "align").path / "train")
    updates = reduced_updates(settings, len(labels(alignments)))

    def amount(task: ReducedTask) -> float:
        everything = task.arm == "soft_everywhere"
        part = draw_part(alignments, settings, 1.0 if everything else task.fraction, task.repetition)
        return float(updates * min(settings.train.batch_frames, len(part.frames)))

    names = parallel_map(
        _train,
        tasks,
        description=f"{len(tasks)} networks",
        unit="frames",
        jobs=settings.jobs,
        amount=amount,
        self_reporting=True,
    )
    return [load_artifact(run_dir, name) for name in names]


def _train(task: ReducedTask) -> str:
    settings = task.settings
    inputs = [load_artifact(task.run_dir, name) for name in ("prepare", "features", "align")]
    chosen: dict[str, object] = {
        "seed": settings.seed,
        "fraction": task.fraction,
        "arm": task.arm,
        "repetition": task.repetition,
        "network": settings.network,
        "augment": settings.augment,
        "train": settings.train,
        **{key: getattr(settings.reduced, key) for key in ("draw", "epochs", "validations")},
    }
    if task.arm != "hard":
        inputs.append(load_artifact(task.run_dir, "posteriors"))
        chosen["temperature"] = settings.distil.temperature
    if task.arm in ("soft_and_hard", "soft_everywhere"):
        chosen["weights"] = [settings.distil.soft_weight, settings.distil.hard_weight]
    return build_artifact(
        task.run_dir,
        task.name,
        code=[__name__, network_class(settings.network.name).__module__],
        settings=chosen,
        inputs=inputs,
        work=lambda folder: _work(folder, task),
    ).name


def _work(folder: Path, task: ReducedTask) -> dict[str, Any]:
    settings, run_dir = task.settings, task.run_dir
    budget, reduced = settings.train, settings.reduced
    features, aligned = load_artifact(run_dir, "features"), load_artifact(run_dir, "align")
    alignments = AlignmentStore.open(aligned.path / "train")
    store = FrameStore.open(features.path / "train")
    part = draw_part(alignments, settings, task.fraction, task.repetition)
    updates = reduced_updates(settings, len(labels(alignments)))
    examples, plain = _examples(task, part)

    dev = examples_of([LabelledSpeech.of_set(run_dir, "dev")], settings, measured=True)
    some = min(len(plain), max(1, _FOLLOWED // plain.labels_per_example))
    followed = plain.select(torch.linspace(0, len(plain) - 1, some).long())
    precision = budget.precision

    def validate(candidate: nn.Module) -> Validation:
        on_dev = measure(candidate, dev, precision=precision)
        return Validation(
            on_dev.accuracy, on_dev.cross_entropy, measure(candidate, followed, precision=precision).accuracy
        )

    topology = Topology.load(aligned.path / "topology.json")
    seed = network_seed(settings.seed, f"reduced/network-{task.repetition}")
    model = new_network(examples.inputs, topology.num_pdfs, settings, seed)
    result = fit(
        model,
        examples,
        objective_of_arm(task.arm, settings.distil),
        budget,
        seed=seed,
        folder=folder,
        validate=validate,
        advance=advance,
        updates=updates,
        validate_at=measuring_points(updates, reduced.validations),
    )
    assert result.best is not None
    save = partial(save_network, features=store.features)
    scores = {}
    if task.arm == "hard":
        best = model.as_saved()
        save(folder / BEST, best)
        if any(not torch.equal(values, result.last_weights[name]) for name, values in model.state_dict().items()):
            scores["best"] = _scores(task, best, plain, dev)
    model.load_state_dict(result.last_weights)
    last = model.as_saved()
    save(folder / LAST, last)
    scores["last"] = _scores(task, last, plain, dev)
    if task.arm == "hard":
        scores.setdefault("best", scores["last"])
    write_json(folder / "scores.json", scores)
    remove_checkpoint(folder)
    speakers = {item.utterance_id: item.speaker_id for item in read_manifest(run_dir / "prepare" / "train.jsonl")}
    return {
        "seconds": len(part.frames) * settings.features.frame_shift_ms / 1000,
        "utterances": len(part.utterance_ids),
        "speakers": len({speakers[name] for name in part.utterance_ids}),
        "updates": result.updates,
        "passes": result.updates * min(budget.batch_frames, len(examples)) / len(examples),
        "best_pass": result.best_epoch,
        "best_dev_frame_accuracy": result.best.accuracy,
        "frames_per_second": round(result.examples_per_second),
    }


def _examples(task: ReducedTask, part: Part) -> tuple[Examples, Examples]:
    """What the network learns from, and its labelled part as it is, without augmentation, to be measured on.

    Raises:
        UserError: single frames are drawn for a network that learns from stretches of them.
    """
    settings, run_dir = task.settings, task.run_dir
    teacher = None
    if task.arm != "hard":
        stored = load_artifact(run_dir, "posteriors")
        expected = {name: load_artifact(run_dir, name).fingerprint for name in ("features", "align")}
        teacher = PosteriorStore(stored.path, expect=expected)
    seen = LabelledSpeech.of_set(run_dir, "train", augment=settings.augment)
    plain = LabelledSpeech(seen.store, seen.alignments)
    everything = examples_of([seen], settings, posteriors=teacher)
    view = view_of(settings.network)
    if settings.reduced.draw == "frames" and view.labels_per_example > 1:
        raise UserError(f"reduced.draw: the network {settings.network.name} learns from no single frames")
    learned, measured = (
        view.examples(plain.store, plain.alignments.utterance_ids, measured=measured).within(part.frames)
        for measured in (False, True)
    )
    followed = examples_of([plain], settings, measured=True).select(measured)
    return examples_of_arm(everything, learned, task.arm), followed


def _scores(task: ReducedTask, model: Network, plain: Examples, dev: Examples) -> dict[str, Any]:
    """Accuracy and cross-entropy on the part and on dev, and counts for every utterance of test."""
    settings, run_dir = task.settings, task.run_dir
    model.eval()
    precision = settings.train.precision
    alignments = AlignmentStore.open(run_dir / "align" / "test")
    store = FrameStore.open(run_dir / "features" / "test")
    groups = posteriors_by_group([model], store, alignments, alignments.utterance_ids, precision=precision)
    on_test = join_scores([score_utterances(alignments, names, log_probs) for names, [log_probs] in groups])
    found: dict[str, Any] = {"test": on_test.to_json()}
    for name, examples in (("part", plain), ("dev", dev)):
        measured = measure(model, examples, precision=precision)
        found[name] = {"frame_accuracy": measured.accuracy, "cross_entropy": measured.cross_entropy}
    return found
