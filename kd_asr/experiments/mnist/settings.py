"""Settings of the MNIST recipe, parsed and checked as those of the main job."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from kd_asr.device import device_problems
from kd_asr.distillation.objectives import hinton_losses
from kd_asr.experiments.filters.settings import FiltersSettings
from kd_asr.jobs.stacks import BatchJobs
from kd_asr.methods.hinton import HintonMethodSettings
from kd_asr.networks.base import problems_of
from kd_asr.registry import Named, Weighted, named
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, DecidesNothing, Distinct, NotEmpty, OfKind, Unit
from kd_asr.training.settings import TrainSettings

Count = Annotated[int, AtLeast(1), AtMost(100_000)]
NotNegative = Annotated[float, AtLeast(0)]
Positive = Annotated[float, Above(0)]
Probability = Annotated[float, AtLeast(0), Below(1)]
# Height and width, in pixels.
IMAGE_SHAPES = {"mnist": (28, 28), "digits": (8, 8)}
# Side of the squares of pixels that students of `privileged` see as one.
LOW_RESOLUTION = {"mnist": 4, "digits": 2}
# Temperature 20 (Hinton and others 2015, section 3), and labels that hardly count.
PAPER_LOSSES = hinton_losses(temperature=20.0, soft_weight=1.0, hard_weight=0.01)


@dataclass(frozen=True)
class DigitDataSettings:
    """Where the digits come from.

    Attributes:
        source: Data set: MNIST, or scikit-learn's 8 x 8 digits in its place; named in every title.
        root: Folder of MNIST's four IDX files.
        dev_images: Training images to hold out for dev, on which every choice is made (of 60,000; of fewer images the
            same share).
    """

    source: Literal["mnist", "digits"] = "mnist"
    root: str = "data/mnist"
    dev_images: Annotated[int, AtLeast(100), Below(60_000), Unit("images")] = 5000


def _dnn(hidden_units: int, *, dropout: float, batch_normalisation: bool) -> Named:
    """A network with two hidden layers; every image is a window of its own."""
    settings = replace(
        named("network", "dnn").settings,
        left_context=0,
        right_context=0,
        hidden_layers=2,
        hidden_units=hidden_units,
        dropout=dropout,
        batch_normalisation=batch_normalisation,
    )
    return named("network", "dnn", settings)


@dataclass(frozen=True)
class DigitNetworkSettings:
    """A network with its regularisation and budget.

    Attributes:
        network: Architecture of the network.
        max_norm: Largest Euclidean norm of a unit's incoming weights (Hinton and others 2012); 0: no limit.
        jitter_pixels: Largest shift of an image, drawn again for each epoch.
        epochs: Passes over the training images.
        batch_images: Images per update.
        optimiser: Optimiser: `adamw` (Loshchilov and Hutter 2019), or `sgd` with Nesterov momentum 0.9 (Sutskever and
            others 2013).
        learning_rate: Peak of the learning rate's schedule.
        warmup: Share of the updates in which the learning rate rises.
        weight_decay: Decoupled weight decay of `adamw`; with `sgd`, the factor of an L2 penalty's gradient.
    """

    network: Annotated[Named, OfKind("network")] = field(
        default_factory=lambda: _dnn(800, dropout=0.0, batch_normalisation=False)
    )
    max_norm: NotNegative = 0.0
    jitter_pixels: Annotated[int, AtLeast(0), AtMost(100), Unit("pixels")] = 0
    epochs: Count = 20
    batch_images: Annotated[int, AtLeast(2), AtMost(10_000_000), Unit("images")] = 512
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 1e-3
    warmup: Probability = 0.05
    weight_decay: NotNegative = 0.0

    def budget(self) -> TrainSettings:
        """Settings for the training loop."""
        return TrainSettings(
            epochs=self.epochs,
            batch_frames=self.batch_images,
            optimiser=self.optimiser,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class StudentSettings(DigitNetworkSettings):
    """The distilled students; 784-800-800-10 in the paper. See `DigitNetworkSettings`.

    Attributes:
        teacher: How students ask their teacher: its posteriors of the unvaried images, `stored` once, or its network
            `live`, in each update and on the images as the student sees them, with their jitter.
    """

    teacher: Annotated[Named, OfKind("teacher")] = field(default_factory=lambda: named("teacher", "stored"))


@dataclass(frozen=True)
class TeacherSettings(DigitNetworkSettings):
    """The teachers; 784-1200-1200-10 in the paper. See `DigitNetworkSettings`.

    With batch normalisation, which the paper did not have, a teacher can be trained in minutes: with 20 epochs, dropout
    0.15 and one seed it made 41 errors on dev, without it 52.
    """

    network: Annotated[Named, OfKind("network")] = field(
        default_factory=lambda: _dnn(1200, dropout=0.15, batch_normalisation=True)
    )
    max_norm: NotNegative = 3.0
    jitter_pixels: Annotated[int, AtLeast(0), AtMost(100), Unit("pixels")] = 2
    learning_rate: Positive = 3e-3
    weight_decay: NotNegative = 0.01


@dataclass(frozen=True)
class TemperatureSettings:
    """The grid of widths and temperatures, evaluated on dev.

    Attributes:
        widths: Numbers of hidden units per layer to compare.
        temperatures: Temperatures of the soft loss to compare.
        hard_weight: Weight of the hard loss beside a soft loss of weight 1.
        students: Students to train for each temperature, one number for each of `widths`; narrow students are cheap and
            their results vary most.
        epochs: Passes over the training images for each student; everything else is as in `distilled`.
    """

    widths: Annotated[tuple[Count, ...], NotEmpty, Distinct()] = (30, 100, 300, 800)
    temperatures: Annotated[tuple[Positive, ...], NotEmpty, Distinct()] = (1.0, 2.0, 3.0, 4.0, 8.0, 20.0, 40.0)
    hard_weight: NotNegative = 0.01
    students: tuple[Count, ...] = (5, 3, 2, 1)
    epochs: Count = 20


@dataclass(frozen=True)
class TransferSettings:
    """Students that never see some digits.

    Attributes:
        temperature: Temperature of the soft loss.
        hard_weight: Weight of the hard loss beside a soft loss of weight 1.
        epochs: Passes over all images; a smaller transfer set is used more often, for the same number of updates.
    """

    temperature: Positive = 20.0
    hard_weight: NotNegative = 0.0
    epochs: Count = 20


@dataclass(frozen=True)
class LossesSettings:
    """The comparison of losses at equal budget, on dev.

    Attributes:
        temperature: Temperature of the losses that have one.
        students: Students to train with each loss.
        epochs: Passes over the training images for each student; everything else is as in `distilled`.
    """

    temperature: Positive = 4.0
    students: Count = 2
    epochs: Count = 20


@dataclass(frozen=True)
class ReducedDigitSettings:
    """Soft targets as regularisers: networks of the architecture and learning rate of `hard`, on parts of the labels.

    Attributes:
        fractions: Shares of the training images (without dev) that keep their labels.
        seeds: Repetitions of the experiment, each with other parts and initial weights.
        losses: Losses of the networks with soft targets and hard labels; those with soft targets alone leave out the
            losses that need no posteriors.
        epochs: Budget of every network, in passes over all training images.
        validations: Measurements on dev, closer together in the beginning, among which early stopping chooses.
    """

    fractions: Annotated[tuple[Annotated[float, Above(0), AtMost(1)], ...], NotEmpty, Distinct()] = (
        0.003, 0.01, 0.1, 1.0,
    )
    seeds: Count = 1
    losses: tuple[Weighted, ...] = PAPER_LOSSES
    epochs: Positive = 8.0
    validations: Count = 20


@dataclass(frozen=True)
class PrivilegedSettings(DigitNetworkSettings):
    """Privileged information (Lopez-Paz and others 2016): the teachers see more of an image than their students will.

    All networks have the same hidden layers, budget and few images; see `DigitNetworkSettings`. An epoch has as many
    updates as one over all training images.

    Attributes:
        images: Numbers of training images to compare, at most those that there are (paper: 300 and 500).
        seeds: Repetitions, each with other images and initial weights.
        scale: Side of the squares of pixels that students see as one; null: 4 of MNIST's 28 pixels (as in the paper), 2
            of the 8 of scikit-learn's digits.
        losses: Losses of the distilled students and their weights.
    """

    network: Annotated[Named, OfKind("network")] = field(
        default_factory=lambda: _dnn(20, dropout=0.0, batch_normalisation=False)
    )
    epochs: Count = 8
    learning_rate: Positive = 3e-3
    images: Annotated[tuple[Count, ...], NotEmpty, Distinct()] = (300, 500)
    seeds: Count = 5
    scale: Annotated[int | None, AtLeast(1), AtMost(28), Unit("pixels")] = None
    losses: tuple[Weighted, ...] = hinton_losses(temperature=4.0, soft_weight=1.0, hard_weight=0.5)


def _digit_filters() -> FiltersSettings:
    return FiltersSettings(kernel_height=5, kernel_width=5, epochs=2.0)


@dataclass(frozen=True)
class MnistSettings:
    """Everything that decides an MNIST run.

    Attributes:
        preset: Name of the budget, shown in the report.
        seed: Seed of everything random.
        jobs: Processes to use; 0: one for each core. Never changes a result.
        device: Where networks are trained and applied: `cpu`, `cuda` (all graphics cards), `cuda:N` (one of them), or
            `auto`, the graphics cards if there are some.
        batch_jobs: Whether networks that differ only in seed, losses' weights or temperatures are trained as one, their
            matrix products made together: `auto` where that is faster, on graphics cards; `always`; `never`. Changes
            at most the last bits of a result.
        executor: Where work is spread: `local`, the processes of this machine, or the jobs of a cluster, `submitit`
            (Slurm) or `ray`. Never changes a result.
        seeds: Number of teachers, hard students and distilled students of the table, and of students that never see
            some digits.
        members: Teachers in the ensemble; the first `seeds` of them are the teachers of the table.
        held_out: Share of the training images that no teacher sees, for the method `facilitator`.
        ensemble_students: Students of the ensemble, at most `seeds`.
        data: Where the digits come from.
        teacher: Teachers.
        hard: Students on hard labels.
        distilled: Distilled students.
        methods: Ways of teaching the distilled students, each a row of the table; `all` on the command line: those of
            the preset, and all others that can work with these settings.
        temperature: Grid of widths and temperatures.
        transfer: Students that never see some digits.
        losses: Comparison of losses.
        reduced: Reduced-data experiment.
        privileged: Privileged information.
        filters: What students inherit of their teachers' filters and layers.
    """

    preset: Annotated[str, DecidesNothing()] = "mnist_quick"
    seed: Annotated[int, AtLeast(0)] = 1
    jobs: Annotated[int, AtLeast(0), AtMost(4096), DecidesNothing()] = 0
    device: Annotated[str, DecidesNothing()] = "auto"
    batch_jobs: Annotated[BatchJobs, DecidesNothing()] = "auto"
    executor: Annotated[Named, OfKind("executor"), DecidesNothing()] = field(
        default_factory=lambda: named("executor", "local")
    )
    seeds: Count = 1
    members: Count = 10
    held_out: Annotated[float, AtLeast(0), Below(1)] = 0.0
    ensemble_students: Count = 1
    data: DigitDataSettings = field(default_factory=DigitDataSettings)
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    hard: DigitNetworkSettings = field(default_factory=DigitNetworkSettings)
    distilled: StudentSettings = field(default_factory=StudentSettings)
    methods: Annotated[tuple[Annotated[Named, OfKind("method")], ...], NotEmpty] = (
        named("method", "hinton", HintonMethodSettings(PAPER_LOSSES)),
    )
    temperature: TemperatureSettings = field(default_factory=TemperatureSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    losses: LossesSettings = field(default_factory=LossesSettings)
    reduced: ReducedDigitSettings = field(default_factory=ReducedDigitSettings)
    privileged: PrivilegedSettings = field(default_factory=PrivilegedSettings)
    filters: FiltersSettings = field(default_factory=_digit_filters)

    @property
    def low_resolution(self) -> int:
        """`privileged.scale`, or that of the digits."""
        return self.privileged.scale or LOW_RESOLUTION[self.data.source]

    def problems(self) -> list[str]:
        """What does not go together."""
        found = device_problems(self.device)
        side = IMAGE_SHAPES[self.data.source][0]
        if side % self.low_resolution:
            found.append(f"privileged.scale: images of {side} pixels have no squares of {self.low_resolution}")
        students, widths = len(self.temperature.students), len(self.temperature.widths)
        if students != widths:
            found.append(f"temperature.students: {students} numbers for {widths} temperature.widths")
        networks: dict[str, DigitNetworkSettings] = {"teacher": self.teacher, "hard": self.hard}
        for section, recipe in {**networks, "distilled": self.distilled, "privileged": self.privileged}.items():
            problems = problems_of(recipe.network, IMAGE_SHAPES[self.data.source])
            found += [f"{section}.network.{problem}" for problem in problems]
        if not hasattr(self.distilled.network.settings, "hidden_units"):
            found.append(f"temperature.widths: the network {self.distilled.network.name} has no setting hidden_units")
        return found


def flags_for_bundled_digits(settings: MnistSettings) -> list[str]:
    """Flags with settings for 1500 images of 8 x 8 pixels instead of 60,000 of 28 x 28.

    Less jitter, and batches of 32, so that an epoch still has some fifty updates.
    """
    flags = [f"--{name}.batch_images=32" for name in ("teacher", "hard", "distilled", "privileged")]
    return [*flags, f"--teacher.jitter_pixels={min(settings.teacher.jitter_pixels, 1)}"]
