"""What trainings cost: operations, and measured time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kd_asr.artifacts import Artifact, load_artifact
from kd_asr.jobs.job import Job
from kd_asr.networks.base import view_of
from kd_asr.networks.operations import OPERATIONS, MultiplyAdds


@dataclass(frozen=True)
class Cost:
    """Cost of some trainings.

    Attributes:
        operations: Floating-point operations; a multiply-add is two.
        seconds: Wall time, in one process unless the machine was shared.
    """

    operations: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.operations + other.operations, self.seconds + other.seconds)


@dataclass(frozen=True)
class Costs:
    """Costs of the trainings of a run.

    Attributes:
        run_dir: Folder of the run.
        jobs: The run's trainings by artifact.
        multiply_adds: Those of a network of a training, by its name.
        labels: Labels in a posterior store.
    """

    run_dir: Path
    jobs: Mapping[str, Job]
    multiply_adds: Callable[[Job, str], MultiplyAdds]
    labels: Callable[[Artifact], int]

    def of_training(self, name: str) -> Cost:
        """The training itself: all its networks, and the outputs of live teachers, but nothing that was made before."""
        job, made = self.jobs[name], load_artifact(self.run_dir, name)
        seen = labels_seen(job, updates=made.metrics["updates"], examples=made.metrics["examples"])
        each = sum(self.multiply_adds(job, network).training for network in job.networks)
        if job.teacher is not None:  # stores among what it learns from have been paid for
            each += sum(self._outputs(teacher) for teacher in job.teacher.artifacts if teacher in self.jobs)
        return Cost(OPERATIONS * each * seen, made.own_seconds)

    def of_everything(self, names: Iterable[str]) -> Cost:
        """Trainings with those that they learnt from, directly or through others, and the making of their posterior
        stores."""
        total, left, done = Cost(), list(names), set()
        while left:
            name = left.pop()
            if name in done:
                continue
            done.add(name)
            if name in self.jobs:
                job = self.jobs[name]
                total += self.of_training(name)
                left += job.artifacts()[len(job.data.artifacts()) :]
            else:
                total += self._of_store(name)
                left += self._trained(load_artifact(self.run_dir, name))
        return total

    def _of_store(self, name: str) -> Cost:
        store = load_artifact(self.run_dir, name)
        each = sum(self._outputs(teacher) for teacher in self._trained(store))
        return Cost(OPERATIONS * each * self.labels(store), store.own_seconds)

    def _trained(self, artifact: Artifact) -> list[str]:
        """The trainings that an artifact was made of."""
        return [name for name in artifact.inputs if name in self.jobs]

    def _outputs(self, name: str) -> float:
        """Multiply-adds of the outputs of a training's networks for a label."""
        return sum(self.multiply_adds(self.jobs[name], network).inference for network in self.jobs[name].networks)


def labels_seen(job: Job, *, updates: int, examples: int) -> int:
    """Labels of all batches of a training.

    Args:
        job: the training.
        updates: of the whole training.
        examples: that it learnt from; a batch has at most these.
    """
    per_example = view_of(job.network).labels_per_example
    return updates * min(max(1, job.budget.batch_frames // per_example), examples) * per_example
