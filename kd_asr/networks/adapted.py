"""A network with adapters, which are trained with it and belong to its losses: they are not saved."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class Adapted(nn.Module):
    """A network beside adapters by name; a function of the inputs like the network alone.

    Attributes:
        module: The network.
        adapters: The adapters, which losses apply to middle layers of the network.
    """

    def __init__(self, network: nn.Module, adapters: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.module = network
        self.adapters = nn.ModuleDict(adapters)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of the network."""
        outputs: Tensor = self.module(inputs)
        return outputs

    @staticmethod
    def of_network(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's own part of a state dictionary."""
        prefix = "module."
        return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
