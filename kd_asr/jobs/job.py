"""A training as one frozen value, which decides the networks and from which their fingerprint is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

from kd_asr.device import Precision
from kd_asr.distillation.losses.base import TapLoss
from kd_asr.distillation.objectives import Objective, check_needs, needs_of, objective_of, tap_losses
from kd_asr.distillation.teachers.base import Lesson, Teacher
from kd_asr.errors import UserError
from kd_asr.jobs.systems import Average
from kd_asr.networks.base import Network, network_class, view_of
from kd_asr.networks.sizes import BODY
from kd_asr.registry import Named, Weighted, find
from kd_asr.settings.ranges import AbsentMeans, DecidesNothing, OfKind
from kd_asr.training.examples import Examples, batches_per_epoch
from kd_asr.training.settings import TrainSettings

MODEL = "model"


@dataclass(frozen=True)
class Material:
    """Opened data of a job.

    Attributes:
        examples: Examples for training; with a teacher if the job has one.
        dev: Examples for validation; None if there are none.
        num_classes: Number of outputs of the networks.
        input_shape: Shape of the networks' inputs.
        header: Description of the inputs for saved networks, such as the settings of the features.
        followed: Training examples, without augmentation, whose accuracy is written into the history; None: none.
    """

    examples: Examples
    dev: Examples | None
    num_classes: int
    input_shape: tuple[int, ...]
    header: Mapping[str, object]
    followed: Examples | None = None


class Data(Protocol):
    """A frozen value that describes the training data; its class belongs to a task.

    Data that gives more than labels says so in an attribute `gives`, as teachers do.
    """

    def artifacts(self) -> Sequence[str]:
        """Names of the input artifacts."""
        ...

    def count(self, run_dir: Path) -> int:
        """Number of labels in an epoch, which does not depend on subsets or copies."""
        ...

    def open(self, run_dir: Path, job: Job, /) -> Material:
        """Training and evaluation data of the job; the same for jobs that differ only in name, seed and losses."""
        ...


@dataclass(frozen=True)
class TeacherSpec:
    """A teacher of a job.

    Attributes:
        teacher: Its class and settings.
        artifacts: Artifacts with its posterior store or its networks, as its `source` says. They are inputs of the job;
            their fingerprints decide, not their names.
        average: Mean of its networks' posteriors; for a store it has been decided.
    """

    teacher: Annotated[Named, OfKind("teacher")]
    artifacts: Annotated[tuple[str, ...], DecidesNothing()] = ()
    average: Annotated[Average, AbsentMeans("arithmetic")] = "arithmetic"

    def open(
        self,
        run_dir: Path,
        *,
        utterance_ids: Sequence[str],
        frames: Sequence[int],
        num_classes: int,
        labelled: int,
        expect: Mapping[str, str],
        header: Mapping[str, object],
        precision: Precision,
        taps: Sequence[str] = (),
    ) -> Teacher:
        """The teacher for these utterances, see `Lesson`.

        Raises:
            UserError: it does not fit the data.
        """
        cls: type[Teacher] = find("teacher", self.teacher.name)
        file = f"{MODEL}.safetensors" if cls.source == "networks" else ""
        paths = [run_dir / artifact / file for artifact in self.artifacts]
        lesson = Lesson(
            paths, utterance_ids, expect, header, self.average, precision, taps, frames, num_classes, labelled
        )
        return cls.open(lesson, self.teacher.settings)


def teacher_spec(
    teacher: Named, *, store: str, networks: Sequence[str], average: Average, stores: Sequence[str] = ()
) -> TeacherSpec:
    """A teacher, with those artifacts of an ensemble that it learns from.

    Args:
        teacher: its class and settings.
        store: artifact with the ensemble's posteriors.
        networks: artifacts of the ensemble's networks.
        average: mean of their posteriors.
        stores: artifacts with the posteriors of each network; none: `store` is that of a single one.
    """
    source = find("teacher", teacher.name).source
    if source == "store":
        return TeacherSpec(teacher, (store,))
    if source == "stores":
        return TeacherSpec(teacher, tuple(stores) or (store,), average)
    return TeacherSpec(teacher, tuple(networks), average) if source == "networks" else TeacherSpec(teacher)


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        name: Name of the artifact, such as `ensemble/member-03`.
        networks: Network with its settings, by the name of its file. Several are trained together, each on the same
            batches and, with the loss `peers`, on the outputs of the others; all must have the same view.
        data: Training data.
        losses: Losses and their weights.
        budget: Epochs, optimiser and precision.
        seed: Seed of initial weights, order of the data and dropout.
        teacher: Source of soft targets; None: hard labels only.
        keep: Weights to save: the best on dev (the last where there is no dev) or the last ones, as `<network>`, or
            both, the last ones as `<network>-last`.
        max_norm: Largest Euclidean norm of a unit's incoming weights, held after each update; 0: no limit.
        epochs: Budget in epochs instead of `budget.epochs`, which may be a fraction.
        validations: Measurements on dev, closer together in the beginning, instead of one after each epoch.
        size: Share of their parameters that the networks have, by fewer hidden units; 1: all.
        start_from: Artifact of another job, with whose weights the networks of the same names begin; empty: with those
            that the seed draws. It is an input; its fingerprint decides, not its name.
        last_weights: Weights of the losses in the last update, in their order; from the first to the last update they
            change linearly. Empty: they stay as they are.
    """

    name: Annotated[str, DecidesNothing()]
    networks: Mapping[str, Named]
    data: Data
    losses: tuple[Weighted, ...]
    budget: TrainSettings
    seed: int
    teacher: TeacherSpec | None = None
    keep: Annotated[Literal["best", "last", "both"], AbsentMeans("best")] = "best"
    max_norm: Annotated[float, AbsentMeans(0.0)] = 0.0
    epochs: Annotated[float | None, AbsentMeans(None)] = None
    validations: Annotated[int | None, AbsentMeans(None)] = None
    size: Annotated[float, AbsentMeans(1.0)] = 1.0
    start_from: Annotated[str, DecidesNothing()] = ""
    last_weights: Annotated[tuple[float, ...], AbsentMeans(())] = ()

    def __post_init__(self) -> None:
        if len({view_of(network) for network in self.networks.values()}) != 1:
            raise UserError(f"{self.name}: networks that are trained together must see the data in one way")
        gives = {"labels"} | (find("teacher", self.teacher.teacher.name).gives if self.teacher is not None else set())
        gives |= {"members"} if len(self.networks) > 1 else set()
        gives |= {"heads"} if len(self.networks) == 1 and network_class(self.network.name).head_layer else set()
        gives |= getattr(self.data, "gives", frozenset())
        check_needs(self.losses, frozenset(gives), who=self.name)
        on_taps = tap_losses(self.objective())  # refuses losses that make no objective
        # Networks that learn from each other are given each other's posteriors and no more.
        alone = [*on_taps, *(item.loss.name for item in self.losses if "graphs" in find("loss", item.loss.name).needs)]
        if alone and len(self.networks) > 1:
            raise UserError(f"{self.name}: the loss {min(alone)} needs a network that is trained alone")

    @property
    def network(self) -> Named:
        """The first network, whose view all networks share."""
        return next(iter(self.networks.values()))

    @property
    def needs_more_than_logits(self) -> bool:
        """Whether a loss looks into the network."""
        return bool(self.tap_losses) or "heads" in needs_of(self.losses)

    @property
    def tap_losses(self) -> dict[str, TapLoss]:
        """New losses on middle layers, by name."""
        return tap_losses(self.objective())

    def objective(self) -> Objective:
        """A new objective, of one network.

        Raises:
            UserError: the losses make none.
        """
        return objective_of(self.losses, last_weights=self.last_weights, who=self.name)

    def open_teacher(
        self,
        run_dir: Path,
        *,
        utterance_ids: Sequence[str],
        frames: Sequence[int],
        num_classes: int,
        labelled: int,
        expect: Mapping[str, str],
        header: Mapping[str, object],
    ) -> Teacher | None:
        """The job's teacher for some utterances, see `Lesson`; None if it has none.

        Raises:
            UserError: it does not fit the data, or has no such middle layer.
        """
        if self.teacher is None:
            return None
        taps = [loss.teacher_tap for loss in self.tap_losses.values()]
        return self.teacher.open(
            run_dir,
            utterance_ids=utterance_ids,
            frames=frames,
            num_classes=num_classes,
            labelled=labelled,
            expect=expect,
            header=header,
            precision=self.budget.precision,
            taps=taps,
        )

    def artifacts(self) -> list[str]:
        """Names of the input artifacts."""
        taught_by = self.teacher.artifacts if self.teacher is not None else ()
        return [*self.data.artifacts(), *taught_by, *([self.start_from] if self.start_from else [])]

    def code(self) -> list[str]:
        """Modules whose code decides the networks, not counting their imports."""
        losses = {find("loss", item.loss.name).__module__ for item in self.losses}
        networks = {one.__module__ for item in self.networks.values() for one in _classes(item)}
        teachers = {find("teacher", self.teacher.teacher.name).__module__} if self.teacher is not None else set()
        return sorted({"kd_asr.jobs.run", type(self.data).__module__, *losses, *networks, *teachers})

    def epoch_updates(self, run_dir: Path) -> int:
        """Number of updates in an epoch."""
        return batches_per_epoch(self.data.count(run_dir), self.budget.batch_frames)

    def updates(self, run_dir: Path) -> int:
        """Number of updates in the whole training."""
        return max(1, round((self.epochs or self.budget.epochs) * self.epoch_updates(run_dir)))


def _classes(network: Named) -> list[type[Network]]:
    """The class of a network, and those of networks inside it."""
    body = getattr(network.settings, BODY, None)
    return [network_class(network.name), *(_classes(body) if body is not None else [])]


def as_name(value: float) -> str:
    """A number as a part of an artifact's name, the shortest that no other number has."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def network_seed(seed: int, name: str) -> int:
    """Seed of one network of a run, which depends on the run's seed and the network's name."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big")


def check_names(jobs: Sequence[Job]) -> None:
    """Refuse jobs that would be trained into one folder.

    Raises:
        UserError: two jobs have the same name.
    """
    names = [job.name for job in jobs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"two trainings are called {twice[0]}: give one of the methods or values another name")
