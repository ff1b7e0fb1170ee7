"""Jobs, posteriors and posterior stores of the networks of the MNIST experiments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from kd_asr.artifacts import Artifact, build_artifact, current_artifact, load_artifact
from kd_asr.console import progress
from kd_asr.corpora.mnist import CLASSES
from kd_asr.device import HOST, Device, find_device
from kd_asr.distillation.objectives import HARD
from kd_asr.distillation.posterior_store import PosteriorStore, encode, finish_store, write_shard
from kd_asr.distillation.signal import tail_sum, top_k_targets
from kd_asr.experiments.mnist.settings import DigitNetworkSettings, MnistSettings
from kd_asr.features.images import Images, averaged
from kd_asr.fingerprints import digest
from kd_asr.jobs.job import MODEL, Job, TeacherSpec, network_seed, teacher_spec
from kd_asr.jobs.run import run
from kd_asr.jobs.systems import NetworkRef
from kd_asr.networks.base import Network
from kd_asr.networks.ensemble import Ensemble
from kd_asr.networks.files import load_network
from kd_asr.networks.inference import log_posteriors
from kd_asr.parallel import parallel_map
from kd_asr.registry import Weighted
from kd_asr.tasks.digits import DIGITS, TRAINING_SET, DigitArrays, DigitData
from kd_asr.tasks.labelled_subset import LabelledSubset
from kd_asr.training.settings import TrainSettings

CHOOSING_TEACHER = "networks/choosing-teacher"
_PIECE = 5000


def digit_job(
    name: str,
    recipe: DigitNetworkSettings,
    *,
    seed: int,
    images: Literal["all", "all but dev"] = "all",
    classes: tuple[int, ...] = tuple(range(CLASSES)),
    teacher: TeacherSpec | None = None,
    losses: tuple[Weighted, ...] = HARD,
) -> Job:
    """A network on digits.

    Args:
        name: name of the artifact, such as `networks/teacher-03`.
        recipe: architecture, regularisation and budget.
        seed: seed of initial weights, order of the images, jitter and dropout.
        images: all training images (final networks), or all but dev (networks that are evaluated on dev).
        classes: digits in the transfer set.
        teacher: source of soft targets; None: no teacher.
        losses: losses to minimise.
    """
    return Job(
        name=name,
        networks={MODEL: recipe.network},
        data=DigitData(images, recipe.jitter_pixels, classes),
        losses=losses,
        budget=recipe.budget(),
        seed=seed,
        teacher=teacher,
        max_norm=recipe.max_norm,
    )


def train(run_dir: Path, settings: MnistSettings, jobs: Sequence[Job], description: str) -> list[Artifact]:
    """Train the networks that are missing."""
    device = find_device(settings.device)
    return run(
        jobs,
        run_dir,
        processes=settings.jobs,
        device=device,
        batch_jobs=settings.batch_jobs,
        description=description,
        unit="images",
    )


def load_digit_network(run_dir: Path, network: NetworkRef) -> Network:
    """A trained network of a run."""
    return load_network(load_artifact(run_dir, network.artifact).path / network.file)


@dataclass(frozen=True)
class _Outputs:
    """A request for posteriors: networks, averaged if several, and images."""

    run_dir: Path
    networks: tuple[NetworkRef, ...]
    images: Literal["train", "dev", "test"]
    device: Device


def _log_posteriors(wanted: _Outputs) -> Tensor:
    """(images, 10) float32 log-posteriors, on the host."""
    arrays = DigitArrays.load(load_artifact(wanted.run_dir, DIGITS).path)
    pixels = {
        "train": arrays.train_images,
        "dev": arrays.train_images[arrays.dev],
        "test": arrays.test_images,
    }[wanted.images]
    models = [load_digit_network(wanted.run_dir, one) for one in wanted.networks]
    pixels = averaged(pixels, pixels.shape[1] // models[0].input_shape[0])
    one_model: nn.Module = models[0] if len(models) == 1 else Ensemble(models, "arithmetic")
    model = wanted.device.put(one_model)
    inputs = Images(pixels)
    parts = torch.split(torch.arange(len(inputs)), _PIECE)
    found = [log_posteriors(model, inputs, part, precision=TrainSettings().precision) for part in parts]
    return HOST.put(torch.cat(found))


def digit_log_posteriors(
    run_dir: Path, settings: MnistSettings, systems: Sequence[Sequence[NetworkRef]], images: Literal["dev", "test"]
) -> list[np.ndarray]:
    """(images, 10) float32 log-posteriors of each system, a network or the average of several, for the images at the
    resolution that its networks have learnt from."""
    outputs, device = [], find_device(settings.device)
    with progress() as bars, _one_thread():
        task = bars.add_task(f"posteriors on {images}", total=len(systems), unit="systems")
        for networks in systems:
            outputs.append(_log_posteriors(_Outputs(run_dir, tuple(networks), images, device)).numpy())
            bars.advance(task)
    return outputs


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, as in the workers: the last bits of a matrix product depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _StoreTask:
    """A posterior store of all training images, without jitter: its artifact and the networks to average."""

    run_dir: Path
    name: str
    networks: tuple[str, ...]
    device: Device


def _store_ingredients(task: _StoreTask) -> dict[str, Any]:
    """Arguments of `build_artifact` that decide a posterior store."""
    return {
        "code": __name__,
        "settings": {"average": "arithmetic"},
        "inputs": [load_artifact(task.run_dir, name) for name in (DIGITS, *task.networks)],
    }


def _store(task: _StoreTask) -> None:
    ingredients = _store_ingredients(task)
    digits, *members = ingredients["inputs"]

    def work(folder: Path) -> dict[str, Any]:
        networks = tuple(map(NetworkRef, task.networks))
        log_probs = _log_posteriors(_Outputs(task.run_dir, networks, "train", task.device))
        targets = top_k_targets(log_probs, CLASSES)
        write_shard(folder, 0, [encode(targets)])
        finish_store(
            folder,
            [TRAINING_SET],
            [len(log_probs)],
            shard_frames=[len(log_probs)],
            top_k=CLASSES,
            tail_prior=tail_sum(log_probs, targets.classes),
            fingerprints={"digits": digits.fingerprint, "teacher": digest([one.fingerprint for one in members])},
        )
        return {"images": len(log_probs), "bytes_per_image": PosteriorStore(folder).bytes_per_frame}

    build_artifact(task.run_dir, task.name, **ingredients, work=work)


def store_posteriors(run_dir: Path, settings: MnistSettings, stores: Mapping[str, Sequence[str]]) -> None:
    """Fill the posterior stores that are missing, each by its name with the averaged posteriors of its networks."""
    device = find_device(settings.device)
    tasks = [_StoreTask(run_dir, name, tuple(networks), device) for name, networks in stores.items()]
    missing = [one for one in tasks if current_artifact(run_dir, one.name, **_store_ingredients(one)) is None]
    if missing:
        jobs = device.processes(settings.jobs)
        for _ in parallel_map(_store, missing, description="posteriors", unit="stores", jobs=jobs):
            pass


def teacher_name(number: int) -> str:
    """Artifact of a final teacher."""
    return f"networks/teacher-{number:02d}"


def teacher_job(settings: MnistSettings, name: str) -> Job:
    """A teacher on hard labels; `CHOOSING_TEACHER` has not seen dev."""
    images: Literal["all", "all but dev"] = "all but dev" if name == CHOOSING_TEACHER else "all"
    job = digit_job(name, settings.teacher, seed=network_seed(settings.seed, name), images=images)
    return on_part(settings, job) if settings.held_out > 0 else job


def on_part(settings: MnistSettings, job: Job, *, rest: bool = False) -> Job:
    """A training on the images that teachers see, or on those that `held_out` keeps from them."""
    subset = LabelledSubset(1.0 - settings.held_out, network_seed(settings.seed, "held out"), rest=rest)
    assert isinstance(job.data, DigitData)
    return replace(job, data=replace(job.data, subset=subset))


def posteriors_name(teacher: str) -> str:
    """Artifact of a teacher's posteriors."""
    return f"posteriors/{teacher.rsplit('/', maxsplit=1)[1]}"


def network_as_teacher(settings: MnistSettings, name: str) -> TeacherSpec:
    """One of `train_teachers` as `distilled.teacher` has it: by its posterior store, or by its network."""
    asked = settings.distilled.teacher
    return teacher_spec(asked, store=posteriors_name(name), networks=[name], average="arithmetic")


def train_teachers(run_dir: Path, settings: MnistSettings, names: Sequence[str]) -> list[Artifact]:
    """Train teachers and store their posteriors, as far as they are missing."""
    jobs = [teacher_job(settings, name) for name in names]
    trained = train(run_dir, settings, jobs, f"teachers ({len(jobs)})")
    store_posteriors(run_dir, settings, {posteriors_name(name): [name] for name in names})
    return trained


def with_updates_of(recipe: DigitNetworkSettings, *, epochs: int, share: float) -> DigitNetworkSettings:
    """The recipe with so many epochs over a `share` of the images that the updates equal `epochs` over all images."""
    return replace(recipe, epochs=max(1, round(epochs / share)))
