"""Training sets of which only a subset has labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.settings.ranges import AbsentMeans
from kd_asr.training.examples import Examples


@dataclass(frozen=True)
class LabelledSubset:
    """The subset of a training set that keeps its labels.

    Attributes:
        fraction: Share of the training set; subsets of one seed are nested.
        seed: Seed of the draw.
        draw: Unit of the draw: single `frames` (or images), or whole `utterances`.
        others: Whether the examples outside the subset are left out, or used with soft targets alone.
        rest: Whether the subset is what the draw leaves instead of what it takes.
    """

    fraction: float
    seed: int
    draw: Literal["frames", "utterances"] = "frames"
    others: Literal["left out", "soft"] = "left out"
    rest: Annotated[bool, AbsentMeans(False)] = False

    def of(self, everything: Examples, labelled: Tensor) -> Examples:
        """Examples for training.

        Args:
            everything: the whole training set.
            labelled: (labelled,) int64, numbers of the examples that keep their labels.
        """
        if self.others == "left out":
            return everything.select(labelled)
        kept = everything.hard_labels[labelled]
        partly = torch.full(tuple(everything.hard_labels.shape), UNLABELLED, dtype=kept.dtype)
        partly[labelled] = kept
        return replace(everything, hard_labels=partly)


def evenly_spaced(examples: Examples, count: int) -> Examples:
    """Evenly spaced examples with about `count` labels."""
    some = min(len(examples), max(1, count // examples.labels_per_example))
    return examples.select(torch.linspace(0, len(examples) - 1, some).long())
