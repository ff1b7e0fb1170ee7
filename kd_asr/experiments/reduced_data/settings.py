"""Settings of the reduced-data experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from kd_asr.decoding.settings import Beam, MaxActive
from kd_asr.distillation.objectives import hinton_losses
from kd_asr.registry import Weighted
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Distinct, NotEmpty


@dataclass(frozen=True)
class ReducedSettings:
    """Soft targets where labelled speech is scarce (Hinton, Vinyals and Dean 2015, section 6).

    Attributes:
        fractions: Shares of the training set that keep their labels; each part lies inside the larger ones.
        seeds: Repetitions of the experiment, each with parts and initial weights of its own.
        draw: What the parts consist of: whole utterances or, as a check, single frames.
        losses: Losses of the networks with soft targets and hard labels; those with soft targets alone leave out the
            losses that need no posteriors.
        epochs: Budget of every network, in passes over the whole training set. Networks that see a part of it make as
            many updates, in more passes over their part.
        validations: Measurements on dev, closer together in the beginning, among which early stopping chooses.
        beam: Beam of the search, narrow since there are many systems to decode.
        max_active: Largest number of states to keep per frame in that search.
    """

    fractions: Annotated[tuple[Annotated[float, Above(0), AtMost(1)], ...], NotEmpty, Distinct()] = (
        0.03, 0.1, 0.3, 1.0,
    )
    seeds: Annotated[int, AtLeast(1), AtMost(1000)] = 3
    draw: Literal["utterances", "frames"] = "utterances"
    losses: tuple[Weighted, ...] = hinton_losses(temperature=2.0, soft_weight=1.0, hard_weight=0.5)
    epochs: Annotated[float, Above(0), AtMost(100_000)] = 2.0
    validations: Annotated[int, AtLeast(1), AtMost(10_000)] = 16
    beam: Beam = 9.0
    max_active: MaxActive = 1200
