"""The one place where networks are trained: jobs in, artifacts out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from kd_asr.artifacts import Artifact, build_artifact, current_artifact, load_artifact
from kd_asr.console import say
from kd_asr.distillation.objectives import objective_of
from kd_asr.jobs.job import Job, Material
from kd_asr.networks.base import Network, count_parameters, new_network
from kd_asr.networks.files import save_network
from kd_asr.parallel import advance, announce, parallel_map
from kd_asr.ranks import ranks
from kd_asr.training.constraints import limit_incoming_norms
from kd_asr.training.distributed import together
from kd_asr.training.fit import FitResult, Validation, fit, remove_checkpoint
from kd_asr.training.measure import measure
from kd_asr.training.schedule import measuring_points


@dataclass(frozen=True)
class _Task:
    """A job for a process, or for all ranks together."""

    job: Job
    run_dir: Path
    together: bool = False


def run(
    jobs: Sequence[Job], run_dir: Path, *, processes: int, description: str, unit: str = "frames"
) -> list[Artifact]:
    """Train the networks of jobs in parallel processes of one thread each; those done before are left as they are.

    A single job, where there are several ranks, is done by all of them together.

    Args:
        jobs: in the order in which they are begun.
        run_dir: folder of the run.
        processes: to use; 0: one for each core. Never changes a result.
        description: of the progress bar.
        unit: of the progress bar, what an example's label belongs to.

    Returns:
        the artifact of each job: `<network>.safetensors`, `history.jsonl`, and in its metrics `parameters`, `bytes`,
        `examples`, `updates`, `passes` over the examples, `labels_per_second` and, where there is a dev set,
        `best_epoch`, `dev_accuracy` and `dev_cross_entropy` of the best weights.
    """
    waiting = []
    for job in jobs:
        if current_artifact(run_dir, job.name, **_ingredients(job, run_dir)) is None:
            waiting.append(job)
        else:
            say(f"{job.name}: done before, unchanged")
    if waiting and ranks().size > len(jobs) == 1:
        _train(_Task(waiting[0], run_dir, together=True))
    elif waiting:
        for _ in parallel_map(
            _train,
            [_Task(job, run_dir) for job in waiting],
            description=description,
            unit=unit,
            jobs=processes,
            amount=_amount,
            self_reporting=True,
        ):
            pass
    return [load_artifact(run_dir, job.name) for job in jobs]


def _ingredients(job: Job, run_dir: Path) -> dict[str, Any]:
    """What decides a job's artifact, for `build_artifact`."""
    inputs = [load_artifact(run_dir, name) for name in job.artifacts()]
    return {"code": job.code(), "settings": job, "inputs": inputs}


def _amount(task: _Task) -> int:
    """Labels that a job sees in all, if its batches are full."""
    return task.job.updates(task.run_dir) * task.job.budget.batch_frames


def _train(task: _Task) -> None:
    """Do a job in this process."""
    ingredients = _ingredients(task.job, task.run_dir)
    build_artifact(task.run_dir, task.job.name, **ingredients, work=lambda folder: _work(folder, task))


def _work(folder: Path, task: _Task) -> dict[str, Any]:
    if task.together:
        announce(_follow, (folder, task))
    with together() if task.together else nullcontext():
        model, result, material = _fit(folder, task)
    size = _save(folder, task.job, model, result, material)
    remove_checkpoint(folder)
    return _metrics(task.job, result, material, count_parameters(model.as_saved()), size)


def _follow(work: tuple[Path, _Task]) -> None:
    """What the ranks beside rank 0 do when all train one network."""
    with together():
        _fit(*work)


def _fit(folder: Path, task: _Task) -> tuple[Network, FitResult, Material]:
    job, run_dir = task.job, task.run_dir
    material = job.data.open(run_dir, job)
    model = new_network(
        job.network, material.examples.inputs, material.input_shape, material.num_classes, job.seed
    )
    updates = job.updates(run_dir)
    full = _amount(task) / (updates * _batch_size(job, material) * material.examples.labels_per_example)
    result = fit(
        model,
        material.examples,
        objective_of(job.losses),
        job.budget,
        seed=job.seed,
        folder=folder,
        validate=partial(_validate, job=job, material=material) if material.dev is not None else None,
        advance=lambda labels: advance(labels * full),
        after_update=partial(limit_incoming_norms, max_norm=job.max_norm) if job.max_norm else _leave,
        updates=updates,
        validate_at=measuring_points(updates, job.validations) if job.validations is not None else None,
        # A job that is validated at moments of its own counts its epochs by passes over what it learns from.
        epoch_updates=job.epoch_updates(run_dir) if job.validations is None else None,
    )
    return model, result, material


def _batch_size(job: Job, material: Material) -> int:
    """Examples of a batch."""
    examples = material.examples
    return min(max(1, job.budget.batch_frames // examples.labels_per_example), len(examples))


def _leave(model: nn.Module) -> None:
    """No constraint."""


def _validate(model: nn.Module, *, job: Job, material: Material) -> Validation:
    assert material.dev is not None
    on_dev = measure(model, material.dev, precision=job.budget.precision)
    if material.followed is None:
        return on_dev
    followed = measure(model, material.followed, precision=job.budget.precision)
    return replace(on_dev, train_accuracy=followed.accuracy)


def _save(folder: Path, job: Job, model: Network, result: FitResult, material: Material) -> int:
    """Write the weights that the job keeps, and tell the bytes of a network."""
    [name] = job.networks
    path = folder / f"{name}.safetensors"
    if job.keep != "last":
        save_network(path, model.as_saved(), material.header)
    if job.keep != "best":
        model.load_state_dict(result.last_weights)
        last = folder / f"{name}-last.safetensors" if job.keep == "both" else path
        save_network(last, model.as_saved(), material.header)
    return path.stat().st_size


def _metrics(job: Job, result: FitResult, material: Material, parameters: int, size: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "parameters": parameters,
        "bytes": size,
        "examples": len(material.examples),
        "updates": result.updates,
        "passes": result.updates * _batch_size(job, material) / len(material.examples),
        "labels_per_second": round(result.examples_per_second),
    }
    if result.best is not None:
        found |= {
            "best_epoch": result.best_epoch,
            "dev_accuracy": result.best.accuracy,
            "dev_cross_entropy": result.best.cross_entropy,
        }
    return found
