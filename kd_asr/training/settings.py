"""Settings of the training of one network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from kd_asr.device import Precision
from kd_asr.settings.ranges import Above, AbsentMeans, AtLeast, AtMost, Below, DecidesNothing, Unit


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained; the same budget for baseline, teachers and students.

    Attributes:
        epochs: Passes over the training frames.
        batch_frames: Frames per update.
        optimiser: Optimiser: `adamw` (Loshchilov and Hutter 2019), or `sgd`, stochastic gradient descent with Nesterov
            momentum 0.9 (Sutskever and others 2013), which wants a learning rate some twenty times as large.
        learning_rate: Peak of the learning rate's schedule.
        learning_rate_batch: Frames per update that `learning_rate` was chosen for. Batches of another size then have it
            times the ratio of the sizes with `sgd` (Goyal and others 2017), times its square root with `adamw` (Malladi
            and others 2022); 0: it is the rate of any batch.
        warmup: Share of the updates in which the learning rate rises.
        weight_decay: Decoupled weight decay of `adamw`; with `sgd`, the factor of an L2 penalty's gradient.
        precision: Arithmetic of the matrix products; `auto` takes bf16 where the device is faster in it.
        checkpoint_seconds: Time between checkpoints.
    """

    epochs: Annotated[int, AtLeast(1), AtMost(100_000)] = 4
    batch_frames: Annotated[int, AtLeast(2), AtMost(10_000_000), Unit("frames")] = 512
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Above(0), AtMost(100)] = 2e-3
    learning_rate_batch: Annotated[int, AtLeast(0), AtMost(10_000_000), Unit("frames"), AbsentMeans(0)] = 0
    warmup: Annotated[float, AtLeast(0), Below(1)] = 0.05
    weight_decay: Annotated[float, AtLeast(0)] = 1e-2
    precision: Precision = "auto"
    checkpoint_seconds: Annotated[float, AtLeast(0), Unit("seconds"), DecidesNothing()] = 30.0

    @property
    def peak_learning_rate(self) -> float:
        """Peak of the learning rate's schedule for batches of this size."""
        if not self.learning_rate_batch:
            return self.learning_rate
        ratio = self.batch_frames / self.learning_rate_batch
        return self.learning_rate * (ratio if self.optimiser == "sgd" else math.sqrt(ratio))
