"""Networks that are trained together, as one module, so that one fit trains them all on the same batches."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kd_asr.networks.adapted import Adapted
from kd_asr.networks.base import Network


class Peers(nn.Module):
    """Several networks with the same inputs and classes, by name."""

    def __init__(self, networks: Mapping[str, Network]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)

    def forward(self, inputs: Tensor) -> Tensor:
        """(networks, labels, classes) logits, in the order of the names."""
        return torch.stack([network(inputs) for network in self.networks.values()])


def members_of(model: nn.Module) -> dict[str, nn.Module]:
    """The networks of `Peers` by name; any other model is its only member, with an empty name and without adapters."""
    if isinstance(model, Adapted):
        model = model.module
    return dict(model.networks.items()) if isinstance(model, Peers) else {"": model}
