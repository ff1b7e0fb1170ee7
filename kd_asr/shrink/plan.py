"""The fine-tunings that make the networks of a run smaller, each with the losses, the teacher and the data that it was
trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kd_asr.device import find_device
from kd_asr.errors import UserError
from kd_asr.jobs.job import MODEL, Job, network_seed
from kd_asr.jobs.run import run
from kd_asr.jobs.systems import NetworkRef, System
from kd_asr.networks.base import network_class
from kd_asr.shrink.forms import DEFAULT_FORMS, FULL, form_of
from kd_asr.stages.agreement import decided as decided_by
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import run_systems

FOLDER = "shrink_networks"


@dataclass(frozen=True)
class ShrinkOptions:
    """What `kd-asr shrink` tries.

    Attributes:
        forms: Forms that take training, beside the networks as they are.
        epochs: Passes over the training frames of each fine-tuning.
        learning_rate: Peak of its learning rate, as a share of that of the network's own training.
        systems: Systems of one network that are made smaller, or groups of such; empty: all.
    """

    forms: tuple[str, ...] = DEFAULT_FORMS
    epochs: float = 1.0
    learning_rate: float = 0.3
    systems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shrunk:
    """A network of a run in a form.

    Attributes:
        origin: System that it is made of.
        form: Name of the form, or `FULL`.
        networks: Where it is; several of an ensemble, which are averaged.
    """

    origin: System
    form: str
    networks: tuple[NetworkRef, ...]


def origins(settings: Settings, options: ShrinkOptions) -> list[System]:
    """Systems of one network that are made smaller.

    Raises:
        UserError: there is no such system or group, or it is of several networks.
    """
    systems = run_systems(settings)
    single = [system for system in systems.systems if len(system.members) == 1]
    known = list(dict.fromkeys(name for system in single for name in (system.group, system.name)))
    for name in options.systems:
        if name not in known:
            raise UserError(f"--systems: no single network or group is called {name!r}: choose of {', '.join(known)}")
    return [one for one in single if not options.systems or {one.group, one.name} & set(options.systems)]


def fine_tunings(settings: Settings, options: ShrinkOptions) -> dict[Shrunk, Job]:
    """The training of each network in each form.

    Raises:
        UserError: a network cannot have a form.
    """
    jobs = {name: job for name, job in decided_by(settings).items() if isinstance(job, Job)}
    return {
        Shrunk(system, form, (NetworkRef(job.name),)): job
        for system in origins(settings, options)
        for form in options.forms
        for job in [_fine_tuning(settings, jobs[system.members[0].artifact], system, form, options)]
    }


def _fine_tuning(settings: Settings, job: Job, system: System, form: str, options: ShrinkOptions) -> Job:
    made, [member] = form_of(form), system.members
    asked = made.around(job.networks[member.network])
    refused = network_class(asked.name).refuses(asked.settings)
    if refused:
        raise UserError(f"{system.name}: {refused}; leave the form {form} out with --forms")
    name = f"{FOLDER}/{form}-{system.name}"
    return replace(
        job,
        name=name,
        networks={MODEL: asked},
        budget=replace(job.budget, learning_rate=options.learning_rate * job.budget.learning_rate),
        epochs=options.epochs,
        seed=network_seed(settings.seed, name),
        keep=made.keep,
        start_from=job.name,
        last_weights=(),
    )


def train(run_dir: Path, settings: Settings, jobs: Sequence[Job]) -> None:
    """Train what is missing."""
    run(
        jobs,
        run_dir,
        processes=settings.jobs,
        device=find_device(settings.device),
        batch_jobs=settings.batch_jobs,
        description=f"fine-tuning of {len(jobs)} networks",
    )


def networks(run_dir: Path, settings: Settings, options: ShrinkOptions) -> list[Shrunk]:
    """The systems of a run as they are, the teacher among them, and its single networks in all forms; those that are
    missing are trained."""
    planned = fine_tunings(settings, options)
    train(run_dir, settings, list(planned.values()))
    systems, chosen = run_systems(settings), origins(settings, options)
    teacher = systems.teacher.name if systems.teacher is not None else ""
    shown = [system for system in systems.systems if system in chosen or system.group == teacher]
    return [*(Shrunk(one, FULL, one.members) for one in shown), *planned]
