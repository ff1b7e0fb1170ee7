"""Pruning of single weights by their magnitude (Han and others 2015; gradually: Zhu and Gupta 2017)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from kd_asr.networks.base import Network
from kd_asr.networks.gradual import Gradual, MaskedConv2d, MaskedLinear, masked
from kd_asr.registry import Named, named, network
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, OfKind


@dataclass(frozen=True)
class PrunedSettings:
    """A network whose smallest weights become 0 while it is trained.

    Attributes:
        sparsity: Share of the weights of each linear and convolution layer that are 0 in the end (Zhu and Gupta 2017:
            0.5 to 0.975).
        first: Share of the updates after which pruning begins.
        last: Share of the updates after which the final sparsity is reached; between the two it grows as 1 - (1 - x)³.
        body: Network that is pruned.
    """

    sparsity: Annotated[float, Above(0), Below(1)] = 0.7
    first: Annotated[float, AtLeast(0), Below(1)] = 0.0
    last: Annotated[float, Above(0), AtMost(1)] = 0.5
    body: Annotated[Named, OfKind("network")] = field(default_factory=lambda: named("network", "dnn"))

    def problems(self) -> list[str]:
        """An end before the beginning."""
        return [f"last: {self.last:g} is not after first, {self.first:g}"] if self.last <= self.first else []


@network("pruned")
class Pruned(Gradual):
    """The body with masks on its weights. The network that is saved is the body, with zeros among its weights."""

    Settings = PrunedSettings

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: PrunedSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        for module in list(self.body.modules()):
            if type(module) in (nn.Linear, nn.Conv2d):
                masked(module)

    @property
    def final_share(self) -> float:
        """The sparsity."""
        return float(self.settings.sparsity)

    @property
    def layers(self) -> list[MaskedLinear | MaskedConv2d]:
        """The pruned layers."""
        return [module for module in self.body.modules() if isinstance(module, (MaskedLinear, MaskedConv2d))]

    @torch.no_grad()
    def choose(self, share: float) -> None:
        """Hide the smallest weights of each layer; one that has grown again comes back."""
        for layer in self.layers:
            count = round(share * layer.weight.numel())
            if count:
                sizes = layer.weight.detach().abs()
                layer.mask.copy_(sizes > sizes.flatten().kthvalue(count).values)

    @torch.no_grad()
    def without(self) -> Network:
        """The body, with zeros where weights are hidden."""
        plain, state = self.plain_body(), self.body.state_dict()
        hidden: dict[str, Tensor] = {
            f"{name}.weight": module.weight * module.mask
            for name, module in self.body.named_modules()
            if isinstance(module, (MaskedLinear, MaskedConv2d))
        }
        plain.load_state_dict({name: hidden.get(name, state[name]) for name in plain.state_dict()})
        return plain

    def start_from(self, saved: Network) -> None:
        """Take the weights of the body, pruned before or not."""
        masks = {name: value for name, value in self.body.state_dict().items() if name.endswith(".mask")}
        self.body.load_state_dict({**saved.state_dict(), **masks})
