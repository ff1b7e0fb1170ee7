"""Linear maps that are kept semi-orthogonal while they are trained (Povey and others, Interspeech 2018, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# Updates from one step towards the constraint to the next, as in Kaldi.
_EVERY = 4


class SemiOrthogonal(nn.Linear):
    """A linear map without bias to fewer numbers than it sees, whose weight stays near a multiple of a matrix with
    orthonormal rows.

    Its scale is free, so that the weights' size is left to the optimiser. Trainings call `constrain` after each update,
    see `kd_asr.training.constraints`.

    Attributes:
        updates: Number of updates so far, int64.
    """

    updates: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        """Draw initial weights of variance 1 / inputs, for which the rows are of norm 1 on average.

        Raises:
            ValueError: there are more outputs than inputs.
        """
        if outputs > inputs:
            raise ValueError(f"{outputs} rows of {inputs} numbers cannot be orthogonal to each other")
        super().__init__(inputs, outputs, bias=False)
        nn.init.normal_(self.weight, std=1 / math.sqrt(inputs))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def constrain(self) -> None:
        """Count an update, and take a step towards the constraint if it is a fourth one.

        Nothing depends on a look at the count, so a card can record it. In a stack of networks the weight has an axis
        in front, and every network its own count.
        """
        self.updates.add_(1)
        due = (self.updates % _EVERY == 0)[..., None, None]
        self.weight.copy_(torch.where(due, orthogonal_step(self.weight), self.weight))


def orthogonal_step(weight: Tensor) -> Tensor:
    """M - 1/(2 a^2) (M M' - a^2 I) M with a^2 = tr(P P') / tr(P), P = M M' (section 3.2, "floating scale").

    A gradient step of size 1/(8 a^2) on the squared distance of M M' from a^2 I, which is the nearest multiple of the
    identity in this sense; close to the constraint it converges quadratically. Far from it, where it could diverge, the
    step is shorter, as in Kaldi's `ConstrainOrthonormalInternal`: half where tr(P P') tr(I) > 1.02 tr(P)^2, a quarter
    where it is more than 1.1 times as large.

    Args:
        weight: (..., rows, columns) float; several matrices, each by itself.

    Returns:
        A tensor of the same shape.
    """
    product = weight @ weight.mT
    rows = weight.shape[-2]
    trace = product.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    squared = product.square().sum((-2, -1))[..., None, None]
    scale = squared / trace.clamp_min(1e-30)
    spread = squared * rows / trace.square().clamp_min(1e-30)
    rate = torch.where(spread > 1.1, 0.125, torch.where(spread > 1.02, 0.25, 0.5))
    unit = torch.eye(rows, dtype=weight.dtype, device=weight.device)
    return weight - (rate / scale.clamp_min(1e-30)) * ((product - scale * unit) @ weight)
