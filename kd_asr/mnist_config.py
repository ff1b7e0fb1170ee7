"""Settings of the MNIST recipe, parsed and checked as those of the main job."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from kd_asr.config import DistilSettings, NetworkSettings, TrainSettings


@dataclass(frozen=True)
class DigitDataSettings:
    """Where the digits come from.

    Attributes:
        source: MNIST, or scikit-learn's 8 x 8 digits for want of it; named first in every title.
        root: folder of MNIST's four IDX files.
        dev_images: training images set apart for every choice (of 60,000; of fewer images the same share).
    """

    source: Literal["mnist", "digits"] = "mnist"
    root: str = "data/mnist"
    dev_images: int = 5000


@dataclass(frozen=True)
class DigitNetworkSettings:
    """A network, how it is kept from overfitting, and its budget.

    Attributes:
        hidden_layers: number of hidden layers.
        hidden_units: rectified linear units in each.
        input_dropout: probability of dropping a pixel.
        dropout: probability of dropping a hidden unit.
        max_norm: largest Euclidean norm of a unit's incoming weights; 0: no limit.
        batch_normalisation: normalise each hidden layer's input over the batch.
        initial_scale: of the hidden layers' initial weights; see `NetworkSettings`.
        jitter_pixels: images are shifted by up to so many pixels, anew in each epoch.
        epochs: passes over the training images.
        batch_images: images per update.
        optimiser: see `TrainSettings`.
        learning_rate: peak of the schedule.
        warmup: share of the updates in which the learning rate rises.
        weight_decay: see `TrainSettings`.
    """

    hidden_layers: int = 2
    hidden_units: int = 800
    input_dropout: float = 0.0
    dropout: float = 0.0
    max_norm: float = 0.0
    batch_normalisation: bool = False
    initial_scale: float = 1.0
    jitter_pixels: int = 0
    epochs: int = 20
    batch_images: int = 512
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.0

    def network(self) -> NetworkSettings:
        """The architecture: every image is a window of its own."""
        return NetworkSettings(
            left_context=0,
            right_context=0,
            hidden_layers=self.hidden_layers,
            hidden_units=self.hidden_units,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            batch_normalisation=self.batch_normalisation,
            initial_scale=self.initial_scale,
        )

    def budget(self) -> TrainSettings:
        """What the fit loop is told."""
        return TrainSettings(
            epochs=self.epochs,
            batch_frames=self.batch_images,
            optimiser=self.optimiser,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class TeacherSettings(DigitNetworkSettings):
    """The teachers; 784-1200-1200-10 in the paper. See `DigitNetworkSettings`.

    Batch normalisation, which the paper did not know, lets a teacher be trained in minutes: with 20 epochs, dropout
    0.15 and one seed it made 41 errors on dev, without it 52.
    """

    hidden_units: int = 1200
    dropout: float = 0.15
    max_norm: float = 3.0
    batch_normalisation: bool = True
    jitter_pixels: int = 2
    learning_rate: float = 3e-3
    weight_decay: float = 0.01


@dataclass(frozen=True)
class SoftLossSettings:
    """The objective of the distilled students of the table.

    Attributes:
        temperature: of the softmax in the soft loss (paper: 20).
        soft_weight: weight of the soft loss, which carries its factor T squared.
        hard_weight: weight of the hard loss.
    """

    temperature: float = 20.0
    soft_weight: float = 1.0
    hard_weight: float = 0.01

    def hinton(self) -> DistilSettings:
        """The same for `methods.hinton`."""
        return DistilSettings(
            temperature=self.temperature, soft_weight=self.soft_weight, hard_weight=self.hard_weight
        )


@dataclass(frozen=True)
class TemperatureSettings:
    """The grid of widths and temperatures, measured on dev.

    Attributes:
        widths: hidden units a layer.
        temperatures: of the soft loss.
        students: trained for each temperature, of each width in turn; narrow ones are cheap and noisy.
        epochs: of each student; what else is not compared is that of `distilled`.
    """

    widths: tuple[int, ...] = (30, 100, 300, 800)
    temperatures: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 8.0, 20.0, 40.0)
    students: tuple[int, ...] = (5, 3, 2, 1)
    epochs: int = 20


@dataclass(frozen=True)
class TransferSettings:
    """Students that never see some digits.

    Attributes:
        temperature: of the soft loss.
        hard_weight: weight of the hard loss beside a soft loss of weight 1.
        epochs: passes over all images; a smaller transfer set is passed as often as makes the same number of updates.
    """

    temperature: float = 20.0
    hard_weight: float = 0.0
    epochs: int = 20


@dataclass(frozen=True)
class LossesSettings:
    """The comparison of losses at equal budget, on dev.

    Attributes:
        temperature: of the losses that have one.
        students: trained with each loss.
        epochs: of each student; what else is not compared is that of `distilled`.
    """

    temperature: float = 4.0
    students: int = 2
    epochs: int = 20


@dataclass(frozen=True)
class ReducedDigitSettings:
    """Soft targets as regularisers: networks of the architecture and learning rate of `hard`, on parts of the labels.

    Attributes:
        fractions: of the training images (without dev) that keep their labels.
        seeds: repetitions, each with other parts and initial weights.
        epochs: passes over all training images whose number of updates every network gets.
        validations: measurements on dev, closer together in the beginning; early stopping chooses among them.
    """

    fractions: tuple[float, ...] = (0.003, 0.01, 0.1, 1.0)
    seeds: int = 1
    epochs: float = 8.0
    validations: int = 20


@dataclass(frozen=True)
class MnistSettings:
    """Everything that decides an MNIST run.

    Attributes:
        preset: name of the budget, shown in the report.
        seed: of everything random.
        jobs: processes to use, 0 for one per core; never changes a result.
        seeds: teachers, hard students and distilled students of the table, and students of omit3 and only78.
        members: teachers in the ensemble; the first `seeds` of them are the teachers of the table.
        ensemble_students: students of the ensemble, at most `seeds`.
    """

    preset: str = "mnist_quick"
    seed: int = 1
    jobs: int = 0
    seeds: int = 1
    members: int = 10
    ensemble_students: int = 1
    data: DigitDataSettings = field(default_factory=DigitDataSettings)
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    hard: DigitNetworkSettings = field(default_factory=DigitNetworkSettings)
    distilled: DigitNetworkSettings = field(default_factory=DigitNetworkSettings)
    distil: SoftLossSettings = field(default_factory=SoftLossSettings)
    temperature: TemperatureSettings = field(default_factory=TemperatureSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    losses: LossesSettings = field(default_factory=LossesSettings)
    reduced: ReducedDigitSettings = field(default_factory=ReducedDigitSettings)

    def problems(self) -> list[str]:
        """Every value that cannot work, as `section.key: what is wrong`."""
        at_least: dict[str, tuple[float, float]] = {
            "seed": (self.seed, 0),
            "jobs": (self.jobs, 0),
            "seeds": (self.seeds, 1),
            "members": (self.members, 1),
            "ensemble_students": (self.ensemble_students, 1),
            "data.dev_images": (self.data.dev_images, 100),
            "distil.soft_weight": (self.distil.soft_weight, 0),
            "distil.hard_weight": (self.distil.hard_weight, 0),
            "transfer.hard_weight": (self.transfer.hard_weight, 0),
            "transfer.epochs": (self.transfer.epochs, 1),
            "losses.students": (self.losses.students, 1),
            "losses.epochs": (self.losses.epochs, 1),
            "temperature.epochs": (self.temperature.epochs, 1),
            "reduced.seeds": (self.reduced.seeds, 1),
            "reduced.validations": (self.reduced.validations, 1),
            "smallest of temperature.students": (min(self.temperature.students, default=1), 1),
            "smallest of temperature.widths": (min(self.temperature.widths, default=0), 1),
        }
        positive = {
            "distil.temperature": self.distil.temperature,
            "distil.soft_weight + distil.hard_weight": self.distil.soft_weight + self.distil.hard_weight,
            "transfer.temperature": self.transfer.temperature,
            "losses.temperature": self.losses.temperature,
            "reduced.epochs": self.reduced.epochs,
            "smallest of reduced.fractions": min(self.reduced.fractions, default=0),
            "smallest of temperature.temperatures": min(self.temperature.temperatures, default=0),
        }
        below_one: dict[str, float] = {}
        for name, one in (("teacher", self.teacher), ("hard", self.hard), ("distilled", self.distilled)):
            at_least |= {
                f"{name}.{item.name}": (getattr(one, item.name), _LEAST.get(item.name, 0))
                for item in fields(one)
                if item.name not in {"optimiser", "initial_scale", "learning_rate"}
            }
            positive |= {f"{name}.{key}": getattr(one, key) for key in ("initial_scale", "learning_rate")}
            below_one |= {f"{name}.{key}": getattr(one, key) for key in ("dropout", "input_dropout", "warmup")}
        found = [f"{name}: {value} is less than {least}" for name, (value, least) in at_least.items() if value < least]
        found += [f"{name}: {value} is not above 0" for name, value in positive.items() if value <= 0]
        found += [f"{name}: {value} is not below 1" for name, value in below_one.items() if value >= 1]
        if len(self.temperature.students) != len(self.temperature.widths):
            found.append(
                f"temperature.students: {len(self.temperature.students)} numbers for "
                f"{len(self.temperature.widths)} temperature.widths"
            )
        if max(self.reduced.fractions, default=0) > 1:
            found.append(f"largest of reduced.fractions: {max(self.reduced.fractions)} is more than all labels, 1")
        if self.data.dev_images >= 60_000:
            found.append(f"data.dev_images: {self.data.dev_images} leaves nothing of 60,000 images to train on")
        return found


_LEAST = {"hidden_units": 1, "epochs": 1, "batch_images": 2}


def flags_for_bundled_digits(settings: MnistSettings) -> list[str]:
    """Settings that suit 1500 images of 8 x 8 pixels instead of 60,000 of 28 x 28, as flags.

    Less jitter (2 of 28 pixels are 1 of 8), and batches of 32 so that an epoch still has some fifty updates.
    """
    flags = [f"--{name}.batch_images=32" for name in ("teacher", "hard", "distilled")]
    return [*flags, f"--teacher.jitter_pixels={min(settings.teacher.jitter_pixels, 1)}"]
