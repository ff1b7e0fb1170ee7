"""The one place where networks are trained: jobs in, artifacts out."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from kd_asr.artifacts import Artifact, build_artifact, current_artifact, load_artifact
from kd_asr.console import say
from kd_asr.device import Device, is_out_of_memory
from kd_asr.distillation.objectives import PeersObjective
from kd_asr.jobs.begin import new_adapters, new_networks
from kd_asr.jobs.job import Job, Material, check_names
from kd_asr.jobs.stacks import BatchJobs, stacks_of, trains_as_one
from kd_asr.networks.adapted import Adapted
from kd_asr.networks.base import Network, count_parameters
from kd_asr.networks.files import save_network
from kd_asr.networks.peers import Peers, members_of
from kd_asr.parallel import advance, parallel_map, run_on_other_ranks
from kd_asr.ranks import ranks
from kd_asr.training.checkpoints import remove_checkpoint
from kd_asr.training.constraints import keep_semi_orthogonal, limit_incoming_norms
from kd_asr.training.distributed import together, training_group
from kd_asr.training.fit import FitResult, Validation, fit
from kd_asr.training.fit_stacked import Member, fit_stacked
from kd_asr.training.measure import measure
from kd_asr.training.schedule import measuring_points


@dataclass(frozen=True)
class _Task:
    """A job, or several as one, for a process; or a job for all ranks together."""

    jobs: tuple[Job, ...]
    run_dir: Path
    device: Device
    together: bool = False


def run(
    jobs: Sequence[Job],
    run_dir: Path,
    *,
    processes: int,
    device: Device,
    description: str,
    unit: str = "frames",
    batch_jobs: BatchJobs = "auto",
) -> list[Artifact]:
    """Train the networks of jobs in parallel processes of one thread each; those done before are left as they are.

    A job whose teacher or first weights are made by another of them waits for that. A single job, where there are
    several ranks, is done by all of them together. Several cards are dealt to jobs and ranks in turn; processes share a
    card as far as its memory goes. On cards, jobs that differ only in seed and losses are trained as one network, dealt
    evenly over the cards.

    Args:
        jobs: in the order in which they are begun.
        run_dir: folder of the run.
        processes: to use; 0: one for each core. Never changes a result.
        device: to train on.
        description: of the progress bar.
        unit: of the progress bar, what an example's label belongs to.
        batch_jobs: whether jobs that can be are trained as one; `auto`: on cards. It changes last bits only.

    Returns:
        the artifact of each job: `<network>.safetensors`, `history.jsonl`, and in its metrics `parameters` and `bytes`,
        both of the largest network, `examples`, `updates`, `passes` over the examples, `labels_per_second`, `device`
        and, where there is a dev set, `best_epoch`, `dev_accuracy` and `dev_cross_entropy` of the best weights. Where
        several were trained as one, `trained_together` is their number; wall time and speed are then those of all.
    """
    check_names(jobs)
    for ready in _in_turns(jobs):
        _run_ready(
            ready,
            run_dir,
            processes=processes,
            device=device,
            batch_jobs=batch_jobs,
            description=description,
            unit=unit,
        )
    return [load_artifact(run_dir, job.name) for job in jobs]


def _in_turns(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs in groups, each of which has no need of those after it."""
    left, turns = list(jobs), []
    while left:
        names = {job.name for job in left}
        ready = [job for job in left if not names & set(job.artifacts())]
        if not ready:
            raise ValueError(f"jobs that wait for each other: {', '.join(sorted(names))}")
        turns.append(ready)
        left = [job for job in left if job not in ready]
    return turns


def _run_ready(
    jobs: Sequence[Job],
    run_dir: Path,
    *,
    processes: int,
    device: Device,
    batch_jobs: BatchJobs,
    description: str,
    unit: str,
) -> None:
    """`run` of jobs whose inputs are there."""
    waiting = []
    for job in jobs:
        if current_artifact(run_dir, job.name, **_ingredients(job, run_dir)) is None:
            waiting.append(job)
        else:
            say(f"{job.name}: done before, unchanged")
    if waiting and ranks().size > len(jobs) == 1:
        _train(_Task((waiting[0],), run_dir, device, together=True))
    elif waiting:
        stacks: list[tuple[Job, ...]] = [(job,) for job in waiting]
        if trains_as_one(batch_jobs, device):
            stacks = stacks_of(waiting, max(device.places(processes), ranks().size))
        for _ in parallel_map(
            _train,
            [_Task(stack, run_dir, device.share(number)) for number, stack in enumerate(stacks)],
            description=description,
            unit=unit,
            jobs=device.processes(processes),
            amount=_amount,
            self_reporting=True,
        ):
            pass


def _ingredients(job: Job, run_dir: Path) -> dict[str, Any]:
    """What decides a job's artifact, for `build_artifact`."""
    inputs = [load_artifact(run_dir, name) for name in job.artifacts()]
    return {"code": job.code(), "settings": job, "inputs": inputs}


def _amount(task: _Task) -> int:
    """Labels that jobs see in all, if their batches are full."""
    return sum(job.updates(task.run_dir) * job.budget.batch_frames for job in task.jobs)


def _train(task: _Task) -> None:
    """Do the jobs of a task in this process."""
    if len(task.jobs) > 1:
        _train_stack(task)
        return
    [job] = task.jobs
    build_artifact(task.run_dir, job.name, **_ingredients(job, task.run_dir), work=lambda folder: _work(folder, task))


def _train_stack(task: _Task) -> None:
    """Do jobs as one, or in two halves if the memory is too small for that."""
    try:
        _build(task, task.jobs, {})
        return
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    gc.collect()  # outside of the error, which holds what was in memory
    say(f"{task.device} has too little memory for {len(task.jobs)} networks as one: in two halves")
    half = len(task.jobs) // 2
    for jobs in (task.jobs[:half], task.jobs[half:]):
        _train(replace(task, jobs=jobs))


def _build(task: _Task, left: Sequence[Job], folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Make the artifacts of a stack of jobs inside each other, since all are begun and finished together.

    Args:
        task: the stack.
        left: jobs whose artifacts are still to begin.
        folders: of those that have begun, by the job's name.

    Returns:
        metrics of the jobs in `left`, by name.
    """
    if not left:
        return _work_stacked([job for job in task.jobs if job.name in folders], folders, task)
    job, *others = left
    made: dict[str, dict[str, Any]] = {}

    def work(folder: Path) -> dict[str, Any]:
        made.update(_build(task, others, {**folders, job.name: folder}))
        remove_checkpoint(folder)
        return made[job.name]

    build_artifact(task.run_dir, job.name, **_ingredients(job, task.run_dir), work=work)
    return made or _build(task, others, folders)  # nothing was made where another command had just done the job


def _work_stacked(jobs: Sequence[Job], folders: Mapping[str, Path], task: _Task) -> dict[str, dict[str, Any]]:
    """Train jobs as one into their folders; the metrics of each, by its name."""
    if not jobs:
        return {}
    first = jobs[0]
    material = first.data.open(task.run_dir, first)
    networks = [new_networks(job, material, task.run_dir) for job in jobs]
    members = [
        Member(job.name, next(iter(own.values())), job.objective(), job.seed, folders[job.name])
        for job, own in zip(jobs, networks, strict=True)
    ]
    options = _options(first, material, task.run_dir)
    results = fit_stacked(members, material.examples, first.budget, device=task.device, **options)
    made = {}
    for job, own, result in zip(jobs, networks, results, strict=True):
        kept = _kept(folders[job.name], job, own, result, material)
        made[job.name] = {**kept, "device": task.device.label, "trained_together": len(jobs)}
    return made


def _work(folder: Path, task: _Task) -> dict[str, Any]:
    if task.together:
        run_on_other_ranks(_follow, (folder, task))
    with together() if task.together else nullcontext():
        networks, result, material = _fit(folder, task)
    metrics = _kept(folder, task.jobs[0], networks, result, material)
    remove_checkpoint(folder)
    return {**metrics, "device": task.device.label}


def _kept(
    folder: Path, job: Job, networks: Mapping[str, Network], result: FitResult, material: Material
) -> dict[str, Any]:
    """Save what a job keeps; its metrics."""
    size = _save(folder, job, networks, result, material)
    parameters = max(count_parameters(network.as_saved()) for network in networks.values())
    return _metrics(job, result, material, parameters, size)


def _follow(work: tuple[Path, _Task]) -> None:
    """What the ranks beside rank 0 do when all train one network."""
    with together():
        _fit(*work)


def _fit(folder: Path, task: _Task) -> tuple[dict[str, Network], FitResult, Material]:
    [job], run_dir = task.jobs, task.run_dir
    material = job.data.open(run_dir, job)
    networks = new_networks(job, material, run_dir)
    objective = job.objective()
    model: nn.Module = next(iter(networks.values()))
    if len(networks) > 1:
        model, objective = Peers(networks), PeersObjective(objective)
    adapters = new_adapters(job, objective, networks, material)
    if adapters:
        model = Adapted(model, adapters)
    device = task.device.share(training_group().rank)
    options = _options(job, material, run_dir)
    result = fit(
        model, material.examples, objective, job.budget, seed=job.seed, device=device, folder=folder, guarded=True,
        **options,
    )
    if adapters:
        result = replace(result, last_weights=Adapted.of_network(result.last_weights))
    return networks, result, material


def _options(job: Job, material: Material, run_dir: Path) -> dict[str, Any]:
    """Arguments of `fit` that jobs share which are trained as one."""
    updates = job.updates(run_dir)
    full = job.budget.batch_frames / (_batch_size(job, material) * material.examples.labels_per_example)
    return {
        "validate": partial(_validate, job=job, material=material) if material.dev is not None else None,
        "advance": _Advance(full),
        "after_update": partial(_constrain, max_norm=job.max_norm),
        "updates": updates,
        "validate_at": measuring_points(updates, job.validations) if job.validations is not None else None,
        # A job that is validated at moments of its own counts its epochs by passes over what it learns from.
        "epoch_updates": job.epoch_updates(run_dir) if job.validations is None else None,
    }


@dataclass
class _Advance:
    """Moves the bar by labels; the first are those of the checkpoint that the training goes on from."""

    factor: float
    begun: bool = False

    def __call__(self, labels: float) -> None:
        advance(labels * self.factor, before=not self.begun)
        self.begun = True


def _batch_size(job: Job, material: Material) -> int:
    """Examples of a batch."""
    examples = material.examples
    return min(max(1, job.budget.batch_frames // examples.labels_per_example), len(examples))


def _constrain(model: nn.Module, *, max_norm: float) -> None:
    """Hold the job's constraint, and those that its networks have themselves."""
    keep_semi_orthogonal(model)
    if max_norm:
        limit_incoming_norms(model, max_norm=max_norm)


def _validate(model: nn.Module, *, job: Job, material: Material) -> Validation:
    """On dev; of networks that are trained together the mean, so that all are kept from the same moment."""
    assert material.dev is not None
    members = list(members_of(model).values())
    on_dev = [measure(one, material.dev, precision=job.budget.precision) for one in members]
    followed = None
    if material.followed is not None:
        found = [measure(one, material.followed, precision=job.budget.precision).accuracy for one in members]
        followed = sum(found) / len(found)
    return Validation(
        sum(one.accuracy for one in on_dev) / len(on_dev),
        sum(one.cross_entropy for one in on_dev) / len(on_dev),
        followed,
    )


def _save(folder: Path, job: Job, networks: Mapping[str, Network], result: FitResult, material: Material) -> int:
    """Write the weights that the job keeps, and tell the bytes of a network."""

    def write(mark: str) -> int:
        paths = [folder / f"{name}{mark}.safetensors" for name in networks]
        for path, network in zip(paths, networks.values(), strict=True):
            save_network(path, network.as_saved(), material.header)
        return max(path.stat().st_size for path in paths)

    size = 0
    if job.keep != "last":
        size = write("")
    if job.keep != "best":
        model = next(iter(networks.values())) if len(networks) == 1 else Peers(networks)
        model.load_state_dict(result.last_weights)
        size = write("-last" if job.keep == "both" else "")
    return size


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
