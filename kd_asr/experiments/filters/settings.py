"""Settings of the experiment `filters`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.distillation.objectives import hinton_losses
from kd_asr.registry import Weighted
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Unit

Channels = Annotated[int, AtLeast(2), AtMost(10_000)]
Units = Annotated[int, AtLeast(1), AtMost(100_000)]
Side = Annotated[int, AtLeast(1), AtMost(100)]


@dataclass(frozen=True)
class FiltersSettings:
    """What a student inherits: convolutional teachers, students on hard labels, and students of each teacher.

    Each seed has a teacher and two students that begin with the same weights and see the same batches, one on hard
    labels and one on the teacher's soft targets; they have two convolution layers and a hidden one. Everything else
    is trained as the other networks are: `train.*` on speech, `hard.*` on digits.

    Attributes:
        seeds: Teachers, and students of each kind. With six, the exact test over seeds can reach p = 0.03; of more than
            fourteen it cannot look at all patterns of signs.
        channels: Filters in the first layer of a student; the second layer has twice as many.
        hidden_units: Units in the hidden layer of a student.
        teacher_channels: Filters in the first layer of a teacher.
        teacher_hidden_units: Units in the hidden layer of a teacher.
        kernel_height: Height of the first layer's filters: frames on speech, pixels on digits.
        kernel_width: Width of these filters: mel bins on speech, pixels on digits.
        epochs: Budget of every network, in passes over all the training data; may be a fraction.
        moments: Moments of training whose weights are compared: before the first update, after the last, and between
            them each after twice as many updates as the one before.
        examples: Test examples, evenly spaced, on which layers are compared.
        losses: Losses of the distilled students and their weights.
    """

    seeds: Annotated[int, AtLeast(2), AtMost(14)] = 3
    channels: Channels = 8
    hidden_units: Units = 128
    teacher_channels: Channels = 16
    teacher_hidden_units: Units = 256
    kernel_height: Side = 9
    kernel_width: Side = 9
    epochs: Annotated[float, Above(0), AtMost(100_000)] = 0.5
    moments: Annotated[int, AtLeast(2), AtMost(30)] = 8
    examples: Annotated[int, AtLeast(20), AtMost(20_000), Unit("examples")] = 1000
    losses: tuple[Weighted, ...] = hinton_losses(temperature=2.0, soft_weight=1.0, hard_weight=0.5)
