"""Linear layers as products of two narrower ones, which begin as the best approximation of a trained layer.

J. Xue, J. Li, Y. Gong, "Restructuring of deep neural network acoustic models with singular value decomposition",
Interspeech 2013. That the truncated decomposition is the nearest matrix of its rank is the theorem of Eckart and Young
(1936).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from kd_asr.networks.around import Around, exchange_linear_layers
from kd_asr.networks.base import Network
from kd_asr.registry import Named, named, network
from kd_asr.settings.ranges import Above, Below, OfKind


@dataclass(frozen=True)
class LowRankSettings:
    """A network whose linear layers are products of two.

    Attributes:
        share: Share of the weights of a layer that its two factors have together, which decides their rank.
        body: Network whose layers are factored.
    """

    share: Annotated[float, Above(0), Below(1)] = 0.5
    body: Annotated[Named, OfKind("network")] = field(default_factory=lambda: named("network", "dnn"))


def rank_of(inputs: int, outputs: int, share: float) -> int:
    """Largest rank at which two factors have no more than a share of the weights of one matrix; at least 1."""
    return max(1, int(share * inputs * outputs / (inputs + outputs)))


class Factors(nn.Module):
    """A linear layer through a narrow one. Input (..., inputs) float; output (..., outputs).

    Attributes:
        narrow: From the inputs, without bias.
        wide: To the outputs.
    """

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        """Approximate `layer`."""
        super().__init__()
        self.narrow = nn.Linear(layer.in_features, rank, bias=False, device=layer.weight.device)
        self.wide = nn.Linear(rank, layer.out_features, bias=layer.bias is not None, device=layer.weight.device)
        self.approximate(layer.weight.detach(), layer.bias)

    @torch.no_grad()
    def approximate(self, weight: Tensor, bias: Tensor | None) -> None:
        """Take the factors of the nearest matrix of their rank, which share its singular values equally."""
        rank = self.narrow.out_features
        left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
        roots = values[:rank].sqrt()
        self.wide.weight.copy_(left[:, :rank] * roots)
        self.narrow.weight.copy_(roots[:, None] * right[:rank])
        if bias is not None:
            self.wide.bias.copy_(bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., outputs)."""
        outputs: Tensor = self.wide(self.narrow(inputs))
        return outputs


@network("low_rank")
class LowRank(Around):
    """The body with `Factors` in the place of its linear layers, but of those that would have no fewer weights."""

    Settings = LowRankSettings

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: LowRankSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        exchange_linear_layers(self.body, self._factored)

    def _factored(self, layer: nn.Linear) -> Factors | None:
        inputs, outputs = layer.in_features, layer.out_features
        rank = rank_of(inputs, outputs, self.settings.share)
        return Factors(layer, rank) if rank * (inputs + outputs) < inputs * outputs else None

    @property
    def factored(self) -> Iterator[tuple[str, Factors]]:
        """The factored layers, by their names in the body."""
        return ((name, module) for name, module in self.body.named_modules() if isinstance(module, Factors))

    def start_from(self, saved: Network) -> None:
        """Take the weights of the same network, or approximate those of a body."""
        if isinstance(saved, LowRank):
            super().start_from(saved)
            return
        state = saved.state_dict()
        for name, factors in self.factored:
            factors.approximate(state.pop(f"{name}.weight"), state.pop(f"{name}.bias", None))
            state.update({f"{name}.{own}": value for own, value in factors.state_dict().items()})
        self.body.load_state_dict(state)
