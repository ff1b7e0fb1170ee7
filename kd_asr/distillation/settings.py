"""Settings of teachers, baselines and students."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from kd_asr.registry import Named, named
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, OfKind


@dataclass(frozen=True)
class EnsembleSettings:
    """The teachers.

    Attributes:
        members: Networks in the ensemble, which differ in their initial weights and the order of their data.
        average: Mean of the members' posteriors.
        top_k: Posteriors to store per frame.
    """

    members: Annotated[int, AtLeast(1)] = 10
    average: Literal["arithmetic", "geometric"] = "arithmetic"
    top_k: Annotated[int, AtLeast(1), AtMost(65535)] = 20


@dataclass(frozen=True)
class BaselineSettings:
    """Baselines: networks like the students, trained on hard labels alone.

    Attributes:
        networks: Networks to train with different seeds; the report gives their mean.
    """

    networks: Annotated[int, AtLeast(1)] = 3


@dataclass(frozen=True)
class DistilSettings:
    """Students of all methods, with the baseline's architecture and budget, and their transfer set.

    Attributes:
        teacher: How students ask the ensemble: its posteriors of the unvaried inputs, `stored` once, or its networks
            `live`, in each update and on the inputs that the student sees, varied and perturbed. Live teachers are for
            graphics cards; on a processor, ten of them take several times as long as the student.
        students: Students to train with different seeds for each method; the report gives their mean.
        dropout: Probability that a student's hidden unit is dropped in training, instead of its network's `dropout`;
            null: the same. Soft targets regularise, and a student that is regularised twice cannot match them.
        copies: Perturbed copies of the training set in the transfer set; the number of updates stays that of the
            baseline.
        copy_warp: Largest change of a copy's frequency axis: 0.15 warps it by factors from 0.85 to 1.15.
        copy_rate: Largest change of a copy's rate of speech: 0.15 draws each utterance's rate from 0.85 to 1.15.
        copy_curve: Standard deviation of the smooth curve over frequency that is added to a copy's normalised frames.
        sweep_temperatures: Temperatures of the soft loss to compare in the report; empty: no comparison.
        sweep_hard_weights: Weights of the hard loss to try with each temperature, beside a soft loss of weight 1.
    """

    teacher: Annotated[Named, OfKind("teacher")] = field(default_factory=lambda: named("teacher", "stored"))
    students: Annotated[int, AtLeast(1)] = 3
    dropout: Annotated[float | None, AtLeast(0), Below(1)] = None
    copies: Annotated[int, AtLeast(0)] = 0
    copy_warp: Annotated[float, AtLeast(0), Below(1)] = 0.15
    copy_rate: Annotated[float, AtLeast(0), Below(1)] = 0.15
    copy_curve: Annotated[float, AtLeast(0)] = 0.3
    sweep_temperatures: tuple[Annotated[float, Above(0)], ...] = (1.0, 2.0)
    sweep_hard_weights: tuple[Annotated[float, AtLeast(0)], ...] = (0.0, 0.5)
