"""Dropout (Srivastava and others 2014) from random bytes: four times as fast on a CPU as torch's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kd_asr.streams import generators


class ByteDropout(nn.Module):
    """In training, sets each number to 0 with the given probability and scales the others up to keep the mean.

    One random byte decides on each number, so the probability is rounded to a multiple of 1/256. The bytes come from
    torch's global generator, whose state the checkpoints hold; in networks that are trained as one (`networks.stack`)
    each network's come from its own, so that it drops what it would drop alone.
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
        drawn = _BytesOfStack.apply(inputs) if generators() else _random_bytes(inputs)
        kept = drawn >= self._threshold
        return inputs * (kept.to(inputs.dtype) * (256 / (256 - self._threshold)))

    def extra_repr(self) -> str:
        """Shown when the network is printed."""
        return f"probability={self._threshold}/256"


def _random_bytes(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Random uint8 of the shape of a tensor, where it is."""
    count = like.numel()
    words = torch.empty(-(-count // 8), dtype=torch.int64, device=like.device)
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.uint8)[:count].view(like.shape)


class _BytesOfStack(torch.autograd.Function):
    """`_random_bytes` inside the `vmap` of a stack, where the networks' activations are one tensor."""

    @staticmethod
    def forward(inputs: Tensor) -> Tensor:
        """Outside of `vmap` nothing says whose bytes are meant."""
        raise RuntimeError("dropout of a stack of networks belongs inside its vmap")

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Nothing is differentiable."""
        context.mark_non_differentiable(output)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> None:
        """None."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None], inputs: Tensor) -> tuple[Tensor, int]:
        """Same shape as the activations of all networks, uint8, network by network."""
        [axis] = in_dims
        activations = inputs.movedim(axis, 0) if axis is not None else inputs.expand(info.batch_size, *inputs.shape)
        drawn = [_random_bytes(own, own_bytes) for own, own_bytes in zip(activations, generators(), strict=True)]
        return torch.stack(drawn), 0
