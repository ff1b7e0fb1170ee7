"""What a specialist learns from: the data of its generalist, with classes that the generalist takes for each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from kd_asr.artifacts import load_artifact
from kd_asr.distillation.specialists import covariance_of_posteriors, online_k_means
from kd_asr.errors import UserError
from kd_asr.features.inputs import all_rows
from kd_asr.jobs.job import MODEL, Data, Job, Material
from kd_asr.networks.base import Network
from kd_asr.networks.files import load_network
from kd_asr.networks.inference import log_posteriors
from kd_asr.networks.specialist import SpecialInputs
from kd_asr.training.examples import Examples, Mixture

# Labels whose posteriors the covariance is taken of, evenly spaced, and how many are computed at a time.
_SAMPLE = 20_000
_PIECE = 2048
# Share of the special classes in a specialist's batches (paper: half).
_SHARE = 0.5


@dataclass(frozen=True)
class SpecialData:
    """The data of a generalist, for one of several specialists that begin with its weights.

    The classes are found by K-means on the covariance of the generalist's posteriors (section 5.3). Half of every batch
    are examples of them and the other half is drawn from all others; networks that learn from stretches of frames, in
    which classes cannot be drawn, see the data as it comes.

    Attributes:
        of_generalist: Data of the generalist.
        specialists: Number of specialists, each for classes of its own.
        number: Number of this one.
        seed: Seed of K-means.
    """

    of_generalist: Data
    specialists: int
    number: int
    seed: int

    def artifacts(self) -> Sequence[str]:
        """Names of the input artifacts."""
        return self.of_generalist.artifacts()

    def count(self, run_dir: Path) -> int:
        """Number of labels in an epoch."""
        return self.of_generalist.count(run_dir)

    def open(self, run_dir: Path, job: Job) -> Material:
        """Training and evaluation data of the job, which starts from the generalist.

        Raises:
            UserError: there are fewer classes than specialists.
        """
        material = self.of_generalist.open(run_dir, job)
        if self.specialists > material.num_classes:
            raise UserError(
                f"{job.name}: {material.num_classes} classes are too few for {self.specialists} specialists: ask for "
                "fewer with --methods.specialists.specialists"
            )
        path = load_artifact(run_dir, job.start_from).path / f"{MODEL}.safetensors"
        posteriors = self._posteriors(load_network(path, material.header), material.examples, job)
        clusters = online_k_means(covariance_of_posteriors(list(posteriors)), self.specialists, seed=self.seed)
        return replace(material, examples=with_special(material.examples, clusters == self.number))

    def _posteriors(self, generalist: Network, examples: Examples, job: Job) -> Iterator[Tensor]:
        """The generalist's posteriors of evenly spaced examples; the same for all specialists, however inputs vary."""
        wanted = min(len(examples), max(1, _SAMPLE // examples.labels_per_example))
        some = torch.linspace(0, len(examples) - 1, wanted).long()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            for part in torch.split(some, max(1, _PIECE // examples.labels_per_example)):
                yield log_posteriors(generalist, examples.inputs, part, precision=job.budget.precision).exp()


def with_special(examples: Examples, special: Tensor) -> Examples:
    """Examples in whose batches special classes are as frequent as all others together.

    Args:
        examples: everything that the generalist has learnt from.
        special: (classes,) bool.
    """
    everything, oversampling = examples.inputs, 1.0
    if examples.labels_per_example == 1:
        labels = all_rows(examples.hard_labels).long()
        own = special[labels.clamp_min(0)] & (labels >= 0)
        first = int(own.sum())
        if 0 < first < len(examples):
            examples = examples.select(torch.cat([own.nonzero()[:, 0], (~own).nonzero()[:, 0]]))
            examples = replace(examples, mixture=Mixture(first, _SHARE))
            oversampling = (len(own) - first) / first
    return replace(examples, inputs=SpecialInputs(examples.inputs, everything, special, oversampling))
