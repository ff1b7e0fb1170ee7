"""What the MNIST experiments share: networks as artifacts, trained in parallel, and their posteriors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from kd_asr.artifacts import Artifact, build_artifact, current_artifact, load_artifact
from kd_asr.console import progress
from kd_asr.corpora.mnist import CLASSES
from kd_asr.distillation.objectives import HARD, objective_of, weighted
from kd_asr.distillation.posterior_store import PosteriorStore, encode, finish_store, write_shard
from kd_asr.distillation.signal import tail_sum, top_k_targets
from kd_asr.distillation.teachers.base import IndexedTeacher
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.features.images import Images
from kd_asr.fingerprints import digest
from kd_asr.methods.hinton import distil
from kd_asr.mnist_config import DigitNetworkSettings, MnistSettings, SoftLossSettings
from kd_asr.networks.base import count_parameters, network_class, new_network
from kd_asr.networks.ensemble import Ensemble
from kd_asr.networks.files import load_network, save_network
from kd_asr.networks.inference import log_posteriors
from kd_asr.parallel import advance, parallel_map
from kd_asr.registry import Weighted, find
from kd_asr.stages.mnist_digits import NAME as DIGITS
from kd_asr.stages.mnist_digits import DigitArrays
from kd_asr.stages.networks import measure
from kd_asr.stages.systems import network_seed
from kd_asr.training.constraints import limit_incoming_norms
from kd_asr.training.examples import Examples, batches_per_epoch
from kd_asr.training.fit import fit, remove_checkpoint
from kd_asr.training.settings import TrainSettings

CHOOSING_TEACHER = "networks/choosing-teacher"
_PIECE = 5000
# A store is keyed by utterance and frame: all training images count as one utterance, whose frames they are.
TRAINING_SET = "train"


@dataclass(frozen=True)
class SoftLossAlone:
    """Only one loss against the teacher, a registered loss."""

    loss: str
    temperature: float


@dataclass(frozen=True)
class DigitTask:
    """One network to train.

    Attributes:
        run_dir: folder of the run.
        name: of its artifact, such as `networks/teacher-03`.
        seed: of initial weights, order of the images, jitter and dropout.
        recipe: architecture, regularisation and budget.
        images: every training image (final models), or all but dev (what is measured on dev).
        classes: digits that are left in the transfer set.
        posteriors: artifact with the teacher's posteriors; empty: hard labels only.
        objective: with a teacher.
        stores: artifact for its own posteriors of the training images, made with it; empty: none.
        jobs: processes.
    """

    run_dir: Path
    name: str
    seed: int
    recipe: DigitNetworkSettings
    images: Literal["all", "all but dev"] = "all"
    classes: tuple[int, ...] = tuple(range(CLASSES))
    posteriors: str = ""
    objective: SoftLossSettings | SoftLossAlone | None = None
    stores: str = ""
    jobs: int = 0


def train_digit_networks(tasks: Sequence[DigitTask], *, description: str) -> list[Artifact]:
    """Train networks in parallel processes of one thread each; those done before are left as they are."""
    arrays = DigitArrays.load(load_artifact(tasks[0].run_dir, DIGITS).path)
    missing = [task for task in tasks if not _is_done(task)]
    for _ in parallel_map(
        _train,
        missing,
        description=description,
        unit="images",
        jobs=tasks[0].jobs,
        amount=lambda task: _amount(task, arrays),
        self_reporting=True,
    ):
        pass
    return [load_artifact(task.run_dir, task.name) for task in tasks]


def _is_done(task: DigitTask) -> bool:
    if current_artifact(task.run_dir, task.name, **_ingredients(task)) is None:
        return False
    return not task.stores or _is_stored(_store_of(task))


def _is_stored(task: _StoreTask) -> bool:
    return current_artifact(task.run_dir, task.name, **_store_ingredients(task)) is not None


def _amount(task: DigitTask, arrays: DigitArrays) -> int:
    """Images that a training sees in all."""
    count = len(_numbers(task, arrays))
    budget = task.recipe.budget()
    return batches_per_epoch(count, budget.batch_frames) * budget.epochs * min(budget.batch_frames, count)


def _numbers(task: DigitTask, arrays: DigitArrays) -> Tensor:
    """Numbers of the images that a network learns from."""
    numbers = torch.arange(len(arrays.train_labels)) if task.images == "all" else arrays.rest
    return numbers[torch.isin(arrays.train_labels[numbers].long(), torch.tensor(task.classes))]


def _ingredients(task: DigitTask) -> dict[str, Any]:
    """What decides a network, for `build_artifact`."""
    return {
        "code": [__name__, network_class(task.recipe.network.name).__module__],
        "settings": {
            "seed": task.seed,
            "recipe": task.recipe,
            "images": task.images,
            "classes": task.classes,
            "objective": task.objective,
        },
        "inputs": [load_artifact(task.run_dir, name) for name in (DIGITS, task.posteriors) if name],
    }


def _train(task: DigitTask) -> None:
    """Train one network in this process, and store its posteriors if asked for."""
    ingredients = _ingredients(task)
    build_artifact(
        task.run_dir, task.name, **ingredients, work=lambda folder: _work(folder, task, ingredients["inputs"])
    )
    if task.stores:
        _store(_store_of(task))


def _work(folder: Path, task: DigitTask, inputs: list[Artifact]) -> dict[str, Any]:
    arrays = DigitArrays.load(inputs[0].path)
    numbers = _numbers(task, arrays)
    recipe, budget = task.recipe, task.recipe.budget()
    images = Images(arrays.train_images[numbers], jitter_pixels=recipe.jitter_pixels)
    examples = Examples(images, arrays.train_labels[numbers])
    model = new_network(recipe.network, images, tuple(arrays.train_images[0].shape), CLASSES, task.seed)
    validate = None
    if task.images == "all but dev":
        dev = Examples(Images(arrays.train_images[arrays.dev]), arrays.train_labels[arrays.dev])
        validate = partial(measure, examples=dev, precision=budget.precision)
    if task.posteriors:
        store = PosteriorStore(inputs[1].path, expect={"digits": inputs[0].fingerprint})
        teacher = IndexedTeacher(StoredTeacher(store, [TRAINING_SET]), numbers)
        examples = Examples(images, examples.hard_labels, teacher)
    after_update = partial(limit_incoming_norms, max_norm=recipe.max_norm) if recipe.max_norm else _nothing
    common: dict[str, Any] = {"seed": task.seed, "folder": folder, "validate": validate}
    common |= {"advance": advance, "after_update": after_update}
    if isinstance(task.objective, SoftLossSettings):
        result = distil(model, examples, task.objective.hinton(), budget, **common)
    else:
        objective = (
            objective_of(HARD)
            if task.objective is None
            else objective_of([_alone(task.objective.loss, task.objective.temperature)])
        )
        result = fit(model, examples, objective, budget, **common)
    pixels = arrays.train_images[0].numel()
    plain = model.as_saved()
    save_network(folder / "model.safetensors", plain, {"image_pixels": pixels})
    remove_checkpoint(folder)
    metrics: dict[str, Any] = {
        "parameters": count_parameters(plain),
        "images": len(numbers),
        "updates": result.updates,
        "images_per_second": round(result.examples_per_second),
    }
    if result.best is not None:
        metrics |= {
            "best_epoch": result.best_epoch,
            "dev_errors": round((1 - result.best.accuracy) * len(arrays.dev)),
            "dev_cross_entropy": result.best.cross_entropy,
        }
    return metrics


def _alone(loss: str, temperature: float) -> Weighted:
    """A loss with a temperature, if it has one."""
    kind = find("loss", loss).Settings
    return weighted(loss, kind(temperature=temperature) if "temperature" in kind.__dataclass_fields__ else kind())


def _nothing(model: nn.Module) -> None:
    """No constraint."""


def load_digit_network(artifact: Artifact) -> nn.Module:
    """The trained network of an artifact."""
    return load_network(artifact.path / "model.safetensors")


@dataclass(frozen=True)
class _Outputs:
    """Networks, averaged if several, and the images whose posteriors are wanted."""

    run_dir: Path
    networks: tuple[str, ...]
    images: Literal["train", "dev", "test"]


def _log_posteriors(wanted: _Outputs) -> Tensor:
    """(images, 10) float32 log-posteriors."""
    arrays = DigitArrays.load(load_artifact(wanted.run_dir, DIGITS).path)
    pixels = {
        "train": arrays.train_images,
        "dev": arrays.train_images[arrays.dev],
        "test": arrays.test_images,
    }[wanted.images]
    models = [load_digit_network(load_artifact(wanted.run_dir, name)) for name in wanted.networks]
    model = models[0] if len(models) == 1 else Ensemble(models, "arithmetic")
    inputs = Images(pixels)
    parts = torch.split(torch.arange(len(inputs)), _PIECE)
    return torch.cat([log_posteriors(model, inputs, part, precision=TrainSettings().precision) for part in parts])


def digit_log_posteriors(
    run_dir: Path, systems: Sequence[Sequence[str]], images: Literal["dev", "test"]
) -> list[np.ndarray]:
    """(images, 10) float32 log-posteriors of each system, a network or the average of several."""
    outputs = []
    with progress() as bars, _one_thread():
        task = bars.add_task(f"posteriors on {images}", total=len(systems), unit="systems")
        for names in systems:
            outputs.append(_log_posteriors(_Outputs(run_dir, tuple(names), images)).numpy())
            bars.advance(task)
    return outputs


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread, as in the workers: the sums of a matrix product, and so its bits, depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _StoreTask:
    """A posterior store to fill with all training images, not jittered: its artifact and the networks averaged."""

    run_dir: Path
    name: str
    networks: tuple[str, ...]


def _store_of(task: DigitTask) -> _StoreTask:
    return _StoreTask(task.run_dir, task.stores, (task.name,))


def _store_ingredients(task: _StoreTask) -> dict[str, Any]:
    """What decides a posterior store, for `build_artifact`."""
    return {
        "code": __name__,
        "settings": {"average": "arithmetic"},
        "inputs": [load_artifact(task.run_dir, name) for name in (DIGITS, *task.networks)],
    }


def _store(task: _StoreTask) -> None:
    ingredients = _store_ingredients(task)
    laid, *members = ingredients["inputs"]

    def work(folder: Path) -> dict[str, Any]:
        log_probs = _log_posteriors(_Outputs(task.run_dir, task.networks, "train"))
        targets = top_k_targets(log_probs, CLASSES)
        write_shard(folder, 0, encode(targets))
        finish_store(
            folder,
            [TRAINING_SET],
            [len(log_probs)],
            shard_frames=[len(log_probs)],
            top_k=CLASSES,
            tail_prior=tail_sum(log_probs, targets.classes),
            fingerprints={"digits": laid.fingerprint, "teacher": digest([one.fingerprint for one in members])},
        )
        return {"images": len(log_probs), "bytes_per_image": PosteriorStore(folder).bytes_per_frame}

    build_artifact(task.run_dir, task.name, **ingredients, work=work)


def store_ensemble(run_dir: Path, name: str, members: Sequence[str]) -> None:
    """Fill the posterior store `name` with the averaged posteriors of several networks, if need be."""
    task = _StoreTask(run_dir, name, tuple(members))
    if not _is_stored(task):
        for _ in parallel_map(_store, [task], description="posteriors of the ensemble", unit="stores"):
            pass


def teacher_name(number: int) -> str:
    """Artifact of a final teacher."""
    return f"networks/teacher-{number:02d}"


def teacher_task(run_dir: Path, settings: MnistSettings, name: str) -> DigitTask:
    """A teacher on hard labels, with its posteriors; `CHOOSING_TEACHER` has not seen dev."""
    return DigitTask(
        run_dir,
        name,
        network_seed(settings.seed, name),
        settings.teacher,
        images="all but dev" if name == CHOOSING_TEACHER else "all",
        stores=posteriors_name(name),
        jobs=settings.jobs,
    )


def posteriors_name(teacher: str) -> str:
    """Artifact of a teacher's posteriors."""
    return f"posteriors/{teacher.rsplit('/', maxsplit=1)[1]}"


def train_teachers(run_dir: Path, settings: MnistSettings, names: Sequence[str]) -> None:
    """Train teachers and store their posteriors, what is missing of them."""
    tasks = [teacher_task(run_dir, settings, name) for name in names]
    train_digit_networks(tasks, description=f"teachers ({len(tasks)})")


def with_updates_of(recipe: DigitNetworkSettings, *, epochs: int, share: float) -> DigitNetworkSettings:
    """As many epochs over a transfer set, a `share` of all images, as make the updates of `epochs` over all."""
    return replace(recipe, epochs=max(1, round(epochs / share)))
