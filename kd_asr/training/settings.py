"""Settings of the training of one network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from kd_asr.device import Precision
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, DecidesNothing, Unit


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained; the same budget for baseline, teachers and students.

    Attributes:
        epochs: Passes over the training frames.
        batch_frames: Frames per update.
        optimiser: Optimiser: `adamw` (Loshchilov and Hutter 2019), or `sgd`, stochastic gradient descent with Nesterov
            momentum 0.9 (Sutskever and others 2013), which wants a learning rate some twenty times as large.
        learning_rate: Peak of the learning rate's schedule.
        warmup: Share of the updates in which the learning rate rises.
        weight_decay: Decoupled weight decay of `adamw`; with `sgd`, the factor of an L2 penalty's gradient.
        precision: Arithmetic of the matrix products; `auto` takes bf16 where the device is faster in it.
        checkpoint_seconds: Time between checkpoints.
    """

    epochs: Annotated[int, AtLeast(1), AtMost(100_000)] = 4
    batch_frames: Annotated[int, AtLeast(2), AtMost(10_000_000), Unit("frames")] = 512
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Above(0), AtMost(100)] = 2e-3
    warmup: Annotated[float, AtLeast(0), Below(1)] = 0.05
    weight_decay: Annotated[float, AtLeast(0)] = 1e-2
    precision: Precision = "auto"
    checkpoint_seconds: Annotated[float, AtLeast(0), Unit("seconds"), DecidesNothing()] = 30.0
