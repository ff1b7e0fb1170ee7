"""Compared ways of learning when only a part of the training set has labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from kd_asr.distillation.objectives import HARD
from kd_asr.jobs.systems import Group
from kd_asr.registry import Weighted, find

# Hard labels, soft targets or both on the labelled part; or soft targets of everything, with the part's hard labels.
Arm = Literal["hard", "soft", "soft_and_hard", "soft_everywhere"]
ARMS: tuple[Arm, ...] = ("hard", "soft", "soft_and_hard", "soft_everywhere")


def losses_of_arm(arm: Arm, losses: tuple[Weighted, ...]) -> tuple[Weighted, ...]:
    """The losses of an arm: the hard one, those that need posteriors, or all.

    Args:
        arm: way of learning.
        losses: of soft targets and hard labels together.
    """
    if arm == "hard":
        return HARD
    if arm == "soft":
        return tuple(
            item if "posteriors" in find("loss", item.loss.name).needs else replace(item, weight=0.0) for item in losses
        )
    return losses


def others_of_arm(arm: Arm) -> Literal["left out", "soft"]:
    """Use of examples outside the labelled part by an arm."""
    return "soft" if arm == "soft_everywhere" else "left out"


def weights_of(arm: Arm) -> list[tuple[str, str]]:
    """Evaluated weights of an arm's networks, each with its network in the artifact: the last ones, and with hard
    labels also the best on dev."""
    if arm == "hard":
        return [("best", "model"), ("last", "model-last")]
    return [("last", "model")]


def arm_groups(everything: str) -> tuple[Group, ...]:
    """Groups of compared networks, named `<arm>_<weights>`; `everything` says what the training set consists of."""
    return (
        Group(
            "hard_best",
            "hard labels, stopped early on dev",
            "reference",
            "#0072B2",
            noun="hard labels stopped early",
        ),
        Group("hard_last", "hard labels, to the end", "other", "#0072B2", plural="hard labels"),
        Group(
            "soft_last",
            "soft targets, to the end",
            "student",
            "#009E73",
            noun="soft targets to the end",
            plural="soft targets",
        ),
        Group(
            "soft_and_hard_last",
            "soft targets and hard labels, to the end",
            "student",
            "#CC79A7",
            plural="soft targets and hard labels",
        ),
        Group(
            "soft_everywhere_last",
            f"hard labels of the part, soft targets of all {everything}",
            "student",
            "#E69F00",
            plural=f"soft targets of all {everything}",
        ),
    )
