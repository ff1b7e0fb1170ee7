"""Soft targets as regularisers when the labels of a part of the training set are left (Hinton, Vinyals, Dean 2015,
section 6): what each way of training learns from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.objectives import HARD, HintonObjective, Objective, objective_of
from kd_asr.distillation.settings import DistilSettings
from kd_asr.training.examples import Examples

Arm = Literal["hard", "soft", "soft_and_hard", "soft_everywhere"]
ARMS: tuple[Arm, ...] = ("hard", "soft", "soft_and_hard", "soft_everywhere")


def examples_of_arm(everything: Examples, part: Tensor, arm: Arm) -> Examples:
    """What an arm learns from.

    Args:
        everything: the whole training set; with a teacher, but for the arm `hard`.
        part: (labelled,) int64, numbers of the examples that keep their labels.
        arm: `hard` labels, `soft` targets, or both on the part; or `soft_everywhere`: soft targets of all examples,
            with hard labels for those of the part.
    """
    if arm == "soft_everywhere":
        partly = torch.full_like(everything.hard_labels, UNLABELLED)
        partly[part] = everything.hard_labels[part]
        return replace(everything, hard_labels=partly)
    return everything.select(part)


def objective_of_arm(arm: Arm, distil: DistilSettings) -> Objective:
    """The loss of an arm: one of the two parts of Hinton's objective, or both."""
    if arm == "hard":
        return objective_of(HARD)
    if arm == "soft":
        return HintonObjective(distil.temperature, 1.0, 0.0)
    return HintonObjective(distil.temperature, distil.soft_weight, distil.hard_weight)
