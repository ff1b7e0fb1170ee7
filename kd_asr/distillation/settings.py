"""Settings of teachers, baselines and students."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from kd_asr.registry import Named, named
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, Distinct, OfKind


@dataclass(frozen=True)
class EnsembleSettings:
    """The teachers.

    Attributes:
        members: Networks in the ensemble, which differ in their initial weights and the order of their data.
        average: Mean of the members' posteriors.
        top_k: Posteriors to store per frame.
        held_out: Share of the training utterances that no member sees, for the method `facilitator`, which learns on
            what is new to them.
        compared_sizes: Sizes of ensembles of these networks whose frame accuracy on dev and test is compared.
    """

    members: Annotated[int, AtLeast(1), AtMost(1000)] = 10
    average: Literal["arithmetic", "geometric"] = "arithmetic"
    top_k: Annotated[int, AtLeast(1), AtMost(65535)] = 20
    held_out: Annotated[float, AtLeast(0), Below(1)] = 0.0
    compared_sizes: tuple[Annotated[int, AtLeast(1)], ...] = (1, 2, 3, 5, 10)


@dataclass(frozen=True)
class BaselineSettings:
    """Baselines: networks like the students, trained on hard labels alone.

    Attributes:
        networks: Networks to train with different seeds; the report gives their mean.
    """

    networks: Annotated[int, AtLeast(1), AtMost(1000)] = 3


@dataclass(frozen=True)
class DistilSettings:
    """Students of all methods, with the baseline's architecture and budget, and their transfer set.

    Attributes:
        teacher: How students ask the ensemble: its posteriors of the unvaried inputs, `stored` once, or its networks
            `live`, in each update and on the inputs that the student sees, varied and perturbed. Live teachers are for
            graphics cards; on a processor, ten of them take several times as long as the student. Or `posteriors` of
            any other model, from files.
        students: Students to train with different seeds for each method; the report gives their mean.
        epochs: Budget of the students, in updates of so many passes over the training frames; null: that of
            `train.epochs`. With another budget there is a second group of baselines, which have the students' updates.
        labelled_share: Share of labelled frames in every batch of a student where there is unlabelled audio; null: that
            in the whole transfer set, which makes hard labels rare where there is much unlabelled audio.
        dropout: Probability that a student's hidden unit is dropped in training, instead of its network's `dropout`;
            null: the same. Soft targets regularise, and a student that is regularised twice cannot match them.
        sizes: Sizes of students of the first method, as shares of the parameters of the students' network: 0.25 is a
            quarter. Each size but 1 gets students of its own, and networks of its size on hard labels beside them.
        unlabelled_fractions: Shares of the unlabelled audio with which students of the first method are trained, to be
            compared on dev; empty: no comparison.
        copies: Perturbed copies of the training set in the transfer set; the number of updates stays that of the
            baseline.
        copy_warp: Largest change of a copy's frequency axis: 0.15 warps it by factors from 0.85 to 1.15.
        copy_rate: Largest change of a copy's rate of speech: 0.15 draws each utterance's rate from 0.85 to 1.15.
        copy_curve: Standard deviation of the smooth curve over frequency that is added to a copy's normalised frames.
        sweep_temperatures: Temperatures of the soft loss to compare in the report; empty: no comparison.
        sweep_hard_weights: Weights of the hard loss to try with each temperature, beside a soft loss of weight 1.
        sweep_labelled_shares: Values of `labelled_share` to try with each of these; empty: that one alone.
        sweep_widenings: How often a grid of temperatures or weights is widened whose best point is at its edge.
        sweep_decides: Whether students of the method `hinton` use what was best on dev, instead of
            `methods.hinton.losses` and `labelled_share`.
    """

    teacher: Annotated[Named, OfKind("teacher")] = field(default_factory=lambda: named("teacher", "stored"))
    students: Annotated[int, AtLeast(1), AtMost(1000)] = 3
    epochs: Annotated[int | None, AtLeast(1), AtMost(100_000)] = None
    labelled_share: Annotated[float | None, Above(0), Below(1)] = 0.5
    dropout: Annotated[float | None, AtLeast(0), Below(1)] = None
    sizes: tuple[Annotated[float, Above(0), AtMost(1)], ...] = ()
    unlabelled_fractions: tuple[Annotated[float, AtLeast(0), AtMost(1)], ...] = ()
    copies: Annotated[int, AtLeast(0), AtMost(1000)] = 0
    copy_warp: Annotated[float, AtLeast(0), Below(1)] = 0.15
    copy_rate: Annotated[float, AtLeast(0), Below(1)] = 0.15
    copy_curve: Annotated[float, AtLeast(0)] = 0.3
    sweep_temperatures: Annotated[tuple[Annotated[float, AtLeast(0.01), AtMost(10_000)], ...], Distinct()] = (1.0, 2.0)
    sweep_hard_weights: Annotated[tuple[Annotated[float, AtLeast(0)], ...], Distinct()] = (0.0, 0.5)
    sweep_labelled_shares: Annotated[tuple[Annotated[float, Above(0), Below(1)], ...], Distinct()] = ()
    sweep_widenings: Annotated[int, AtLeast(0), AtMost(20)] = 0
    sweep_decides: bool = False

    def problems(self) -> list[str]:
        """What does not go together."""
        found = [
            f"{name}: {', '.join(f'{value:g}' for value in values)} name one value twice"
            for name, values in (("sizes", self.sizes), ("unlabelled_fractions", self.unlabelled_fractions))
            if len(set(values)) < len(values)
        ]
        if self.sweep_decides and not (self.sweep_temperatures and self.sweep_hard_weights):
            found.append("sweep_decides: there is nothing to decide without sweep_temperatures and sweep_hard_weights")
        return found
