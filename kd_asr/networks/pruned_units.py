"""Pruning of whole hidden units, after which the layers are really smaller.

T. He, Y. Fan, Y. Qian, T. Tan, K. Yu, "Reshaping deep neural network for fast decoding by node-pruning", ICASSP 2014.
The importance of a unit is the norm of its outgoing weights. Behind batch normalisation these weights meet outputs
whose size its scale and shift decide, so the norm is multiplied by that.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from torch import Tensor, nn

from kd_asr.networks.base import Network, network_class
from kd_asr.networks.dnn import DNN
from kd_asr.networks.gradual import Gradual, MaskedLinear, masked
from kd_asr.networks.tdnn import TDNN
from kd_asr.registry import Named, named, network
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, OfKind

# Wide layers keep multiples of this, in which processors are fastest.
_STEP = 8
_WIDE = 128


@dataclass(frozen=True)
class PrunedUnitsSettings:
    """A network that loses hidden units while it is trained.

    Attributes:
        kept: Share of the units of each hidden layer that stay; of layers of 128 units or more a multiple of 8.
        first: Share of the updates after which pruning begins.
        last: Share of the updates after which no more units are lost; between the two their number grows as
            1 - (1 - x)³ (Zhu and Gupta 2017).
        body: Network that is pruned, a `dnn` or a `tdnn`.
    """

    kept: Annotated[float, Above(0), Below(1)] = 0.5
    first: Annotated[float, AtLeast(0), Below(1)] = 0.0
    last: Annotated[float, Above(0), AtMost(1)] = 0.5
    body: Annotated[Named, OfKind("network")] = field(default_factory=lambda: named("network", "dnn"))

    def problems(self) -> list[str]:
        """An end before the beginning."""
        return [f"last: {self.last:g} is not after first, {self.first:g}"] if self.last <= self.first else []


@dataclass(frozen=True)
class HiddenLayer:
    """A layer of rectified units.

    Attributes:
        made_by: Name of the linear layer with a row for each unit.
        normalised_by: Name of its batch normalisation; empty: it has none.
        read_by: Name of the linear layer that reads the units.
        copies: How often each of them is among the inputs of that layer, all units once and then all again.
    """

    made_by: str
    normalised_by: str
    read_by: str
    copies: int


def hidden_layers(body: Network) -> list[HiddenLayer]:
    """The hidden layers of a `dnn` or `tdnn`.

    Raises:
        ValueError: it is another network.
    """
    normalised = body.settings.batch_normalisation
    if isinstance(body, DNN):
        made = [f"hidden.{number}" for number, module in enumerate(body.hidden) if isinstance(module, nn.Linear)]
        norms = [f"hidden.{int(name.rpartition('.')[2]) + 1}" for name in made]
        copies = [1] * len(made)
    elif isinstance(body, TDNN):
        made = [f"hidden.{number}.linear" for number in range(len(body.hidden))]
        norms = [f"hidden.{number}.normalisation" for number in range(len(body.hidden))]
        copies = [3] * (len(made) - 1) + [1]
    else:
        raise ValueError(f"the units of {type(body).__name__} cannot be pruned")
    layers = zip(made, norms, [*made[1:], "output"], copies, strict=True)
    return [HiddenLayer(one, norm if normalised else "", reader, often) for one, norm, reader, often in layers]


def units_left(body: Named, kept: float) -> int:
    """Units of each hidden layer that stay."""
    units = int(body.settings.hidden_units)
    step = _STEP if units >= _WIDE else 1
    return max(1, step * round(kept * units / step))


@network("pruned_units")
class PrunedUnits(Gradual):
    """The body with masks on its units. The network that is saved is of the body's class, with fewer units."""

    Settings = PrunedUnitsSettings

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: PrunedUnitsSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        self._layers = hidden_layers(self.body)
        for layer in self._layers:
            masked(self.body.get_submodule(layer.read_by), by_input=True)

    @classmethod
    def refuses(cls, settings: PrunedUnitsSettings) -> str:
        """A body whose layers are not known."""
        known = issubclass(network_class(settings.body.name), (DNN, TDNN))
        return "" if known else f"units of {settings.body.name} cannot be pruned, only those of dnn and tdnn"

    @classmethod
    def problems(cls, settings: PrunedUnitsSettings, input_shape: tuple[int, ...]) -> list[str]:
        """Those of the body, and a body whose layers are not known."""
        refused = cls.refuses(settings)
        return [f"body: {refused}"] if refused else super().problems(settings, input_shape)

    @property
    def final_share(self) -> float:
        """Share of the units that is lost."""
        return 1 - units_left(self.settings.body, self.settings.kept) / int(self.settings.body.settings.hidden_units)

    @torch.no_grad()
    def importance(self, layer: HiddenLayer) -> Tensor:
        """(units,) size of what each unit adds to the layer above."""
        reader, maker = self.body.get_submodule(layer.read_by), self.body.get_submodule(layer.made_by)
        assert isinstance(reader, nn.Linear) and isinstance(maker, nn.Linear)
        outgoing = reader.weight.view(len(reader.weight), layer.copies, -1).square().sum((0, 1)).sqrt()
        if not layer.normalised_by:
            return outgoing * maker.weight.square().sum(1).sqrt()
        norm = self.body.get_submodule(layer.normalised_by)
        assert isinstance(norm, nn.BatchNorm1d)
        return outgoing * (norm.weight.square() + norm.bias.square()).sqrt()

    @torch.no_grad()
    def choose(self, share: float) -> None:
        """Hide the least important units of each layer."""
        for layer in self._layers:
            importance, reader = self.importance(layer), self.body.get_submodule(layer.read_by)
            assert isinstance(reader, MaskedLinear)
            hidden = importance.argsort()[: round(share * len(importance))]
            reader.mask.copy_(torch.ones_like(importance).index_fill(0, hidden, 0.0).repeat(layer.copies))

    @torch.no_grad()
    def without(self) -> Network:
        """A network with the units that are left."""
        body, units = self.settings.body, units_left(self.settings.body, self.settings.kept)
        settings = replace(body.settings, hidden_units=units)
        small = network_class(body.name)(self.input_shape, self.num_classes, settings).train(self.training)
        state = {name: value for name, value in self.body.state_dict().items() if not name.endswith(".mask")}
        for layer in self._layers:
            mask = self.body.get_submodule(layer.read_by).get_buffer("mask")[0]
            left = mask[: len(mask) // layer.copies].nonzero()[:, 0]
            for name in (layer.made_by, layer.normalised_by):
                for part in ("weight", "bias", "running_mean", "running_var"):
                    if name and f"{name}.{part}" in state:
                        state[f"{name}.{part}"] = state[f"{name}.{part}"][left]
            state[f"{layer.read_by}.weight"] = state[f"{layer.read_by}.weight"][:, mask > 0]
        small.load_state_dict(state)
        return small

    def start_from(self, saved: Network) -> None:
        """Take the weights of the body."""
        masks = {name: value for name, value in self.body.state_dict().items() if name.endswith(".mask")}
        self.body.load_state_dict({**saved.state_dict(), **masks})
