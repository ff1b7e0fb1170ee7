"""Gradual pruning: a share of a network's weights or units that grows while the network is trained.

M. Zhu, S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017, arXiv
1710.01878, equation 1.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from kd_asr.networks.around import Around
from kd_asr.networks.base import Network

# Most times that masks are chosen anew.
_CHOICES = 50


def pruned_share(update: int, *, final: float, first: int, last: int) -> float:
    """Share that is pruned after an update: final * (1 - (1 - (update - first) / (last - first))^3), between 0 and
    `final`.

    Args:
        update: counted from 0.
        final: share that is pruned from the update `last` on, 0..1.
        first: update at which the share begins to grow.
        last: update at which it stops.
    """
    if update >= last:
        return final
    return final * (1 - (1 - max(0, update - first) / (last - first)) ** 3)


class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights count as 0, and have no gradient.

    Attributes:
        mask: 0 or 1 by weight, (outputs, inputs), or by input, (1, inputs); float32.
    """

    mask: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """As `nn.Linear`."""
        return nn.functional.linear(inputs, self.weight * self.mask, self.bias)


class MaskedConv2d(nn.Conv2d):
    """A convolution some of whose weights count as 0, and have no gradient.

    Attributes:
        mask: 0 or 1 by weight; float32.
    """

    mask: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """As `nn.Conv2d`."""
        outputs: Tensor = self._conv_forward(inputs, self.weight * self.mask, self.bias)
        return outputs


def masked(layer: nn.Module, *, by_input: bool = False) -> MaskedLinear | MaskedConv2d:
    """A layer itself, from now on with a mask of ones."""
    assert isinstance(layer, (nn.Linear, nn.Conv2d))
    shape = (1, layer.weight.shape[1]) if by_input else tuple(layer.weight.shape)
    layer.register_buffer("mask", torch.ones(shape, device=layer.weight.device))
    layer.__class__ = MaskedLinear if isinstance(layer, nn.Linear) else MaskedConv2d
    assert isinstance(layer, (MaskedLinear, MaskedConv2d))
    return layer


class Gradual(Around):
    """Base of networks that are pruned while they are trained, in the updates between two shares of the training.

    Every forward pass in training mode counts as an update. The count is kept by the host, so that nothing waits for a
    device; a stack of networks, whose updates are recorded once, cannot have it.
    """

    stacks = False

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: Any) -> None:
        super().__init__(input_shape, num_classes, settings)
        self._made = 0
        self._updates: int | None = None

    @property
    @abstractmethod
    def final_share(self) -> float:
        """Share that is pruned in the end."""

    @abstractmethod
    def choose(self, share: float) -> None:
        """Choose the masks anew, so that this share is pruned."""

    @abstractmethod
    def without(self) -> Network:
        """A network of the body's class without what the masks hide."""

    def begin(self, updates: int) -> None:
        """Learn the number of updates of the training."""
        self._updates = updates

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of the body."""
        if self.training and self._updates is not None:
            self._advance(self._updates)
        return super().forward(inputs)

    def _advance(self, updates: int) -> None:
        first, last = (round(share * updates) for share in (self.settings.first, self.settings.last))
        every = max(1, math.ceil((last - first) / _CHOICES))
        if self._made == last or (first <= self._made < last and (self._made - first) % every == 0):
            self.choose(pruned_share(self._made, final=self.final_share, first=first, last=last))
        self._made += 1

    def as_saved(self) -> Network:
        """The pruned network; what is still to be pruned is pruned at once."""
        if self._updates is None or self._made <= round(self.settings.last * self._updates):
            self.choose(self.final_share)
        return self.without()

    def get_extra_state(self) -> Tensor:
        """Number of updates, for checkpoints."""
        return torch.tensor(self._made)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on after so many updates."""
        self._made = int(state)
