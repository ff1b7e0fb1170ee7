"""The ensemble is a model too: it maps inputs to averaged log-posteriors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn


def average_log_posteriors(log_posteriors: Sequence[Tensor], average: Literal["arithmetic", "geometric"]) -> Tensor:
    """Average the posteriors of several models.

    Args:
        log_posteriors: one (batch, classes) tensor per model, natural logarithms.
        average: `arithmetic` mean of the posteriors, or their `geometric` mean, normalised (Hinton, Vinyals, Dean
            2015, section 2, allow both).

    Returns:
        (batch, classes) log-posteriors.
    """
    if average == "arithmetic":
        # Equal to torch's logsumexp over a stack of them, which takes four times as long.
        # Above -inf, so that a class that all hold for impossible is so, and not a NaN.
        largest = reduce(torch.maximum, log_posteriors).clamp_min(torch.finfo(log_posteriors[0].dtype).min / 2)
        total = sum(((one - largest).exp_() for one in log_posteriors), torch.zeros_like(largest))
        return total.log() + (largest - math.log(len(log_posteriors)))
    return (sum(log_posteriors, torch.zeros_like(log_posteriors[0])) / len(log_posteriors)).log_softmax(dim=-1)


class Ensemble(nn.Module):
    """Several networks whose posteriors are averaged; the outputs are log-posteriors, which can serve as logits."""

    def __init__(self, members: Sequence[nn.Module], average: Literal["arithmetic", "geometric"]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        axes = {getattr(member, "row_axis", None) for member in members}
        self.row_axis: int | None = axes.pop() if len(axes) == 1 else None
        self.average: Literal["arithmetic", "geometric"] = average

    def forward(self, inputs: Tensor) -> Tensor:
        """Averaged log-posteriors, (batch, classes)."""
        return average_log_posteriors(
            [member(inputs).float().log_softmax(dim=-1) for member in self.members], self.average
        )
