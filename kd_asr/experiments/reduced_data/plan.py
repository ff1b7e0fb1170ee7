"""Networks that see the labels of a part of the training set, and the compared systems."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kd_asr.experiments.reduced_data.arms import ARMS, Arm, losses_of_arm, others_of_arm, weights_of
from kd_asr.jobs.job import Job, as_name, network_seed
from kd_asr.jobs.systems import NetworkRef
from kd_asr.stages.plan import ensemble_as_teacher, hard_job, variation
from kd_asr.stages.settings import Settings
from kd_asr.tasks.labelled_subset import LabelledSubset
from kd_asr.tasks.speech import SpeechData
from kd_asr.training.settings import TrainSettings


@dataclass(frozen=True)
class ReducedNetwork:
    """One network of the experiment.

    Attributes:
        arm: Way of learning.
        fraction: Share of the training set that has labels.
        repetition: Number of the repetition, which decides the labelled part and the initial weights.
        job: Training of the network.
    """

    arm: Arm
    fraction: float
    repetition: int
    job: Job

    @property
    def subset(self) -> LabelledSubset:
        """The subset that keeps its labels."""
        assert isinstance(self.job.data, SpeechData) and self.job.data.subset is not None
        return self.job.data.subset


@dataclass(frozen=True)
class ReducedSystem:
    """A network with its weights of the last update or, by early stopping, those best on dev."""

    network: ReducedNetwork
    weights: str

    @property
    def weights_ref(self) -> NetworkRef:
        """Reference to the weights in the artifact of the network."""
        return NetworkRef(self.network.job.name, dict(weights_of(self.network.arm))[self.weights])

    @property
    def kind(self) -> str:
        """Name of its group in the table, for all fractions and repetitions."""
        return f"{self.network.arm}_{self.weights}"

    @property
    def key(self) -> tuple[float, str]:
        """Fraction and kind, for which scale and penalty are chosen once."""
        return self.network.fraction, self.kind

    @property
    def name(self) -> str:
        """Name of its file of hypotheses."""
        return f"{as_name(self.network.fraction)}-{self.kind}-{self.network.repetition}"


def reduced_networks(settings: Settings) -> list[ReducedNetwork]:
    """All networks of the experiment; with all labels there are no other examples for soft targets."""
    return [
        ReducedNetwork(arm, fraction, repetition, reduced_job(settings, fraction, arm, repetition))
        for fraction in settings.reduced.fractions
        for arm in ARMS
        for repetition in range(settings.reduced.seeds)
        if not (fraction == 1.0 and arm == "soft_everywhere")
    ]


def reduced_systems(settings: Settings) -> list[ReducedSystem]:
    """The compared systems: hard labels with and without early stopping, soft targets to the last update."""
    return [
        ReducedSystem(network, weights)
        for network in reduced_networks(settings)
        for weights, _ in weights_of(network.arm)
    ]


def reduced_job(settings: Settings, fraction: float, arm: Arm, repetition: int) -> Job:
    """Training of one network; all have the same number of updates."""
    reduced = settings.reduced
    subset = LabelledSubset(
        fraction, network_seed(settings.seed, f"reduced/part-{repetition}"), reduced.draw, others_of_arm(arm)
    )
    name = f"reduced_networks/{reduced.draw}-{as_name(fraction)}-{arm}-{repetition}"
    return replace(
        hard_job(settings, name, settings.student_network),
        data=SpeechData(variation(settings), subset=subset),
        losses=losses_of_arm(arm, reduced.losses),
        seed=network_seed(settings.seed, f"reduced/network-{repetition}"),
        teacher=None if arm == "hard" else ensemble_as_teacher(settings),
        keep="both" if arm == "hard" else "last",
        budget=replace(settings.train, epochs=TrainSettings().epochs),  # not in use, and so not in the fingerprint
        epochs=reduced.epochs,
        validations=reduced.validations,
    )
