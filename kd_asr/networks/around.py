"""What networks around another one share: its view, its taps, and layers of it that are exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from kd_asr.networks.base import Network, network_class, problems_of, view_of
from kd_asr.networks.body import WithBody
from kd_asr.networks.views import View


class Around(WithBody):
    """Base of networks whose settings have a `body`, another network, which they change inside.

    Inputs and outputs are those of the body. While it is trained the body sees the inputs themselves, not what its own
    `for_training` would put before it: what is pruned, factored or rounded has to be the weights that are kept.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: Any) -> None:
        """Draw the weights of the body."""
        super().__init__(input_shape, num_classes, settings)
        self.body = network_class(settings.body.name)(input_shape, num_classes, settings.body.settings)
        self.row_axis = self.body.row_axis

    @classmethod
    def view(cls, settings: Any) -> View:
        """That of the body."""
        return view_of(settings.body)

    @classmethod
    def problems(cls, settings: Any, input_shape: tuple[int, ...]) -> list[str]:
        """Those of the body."""
        return [f"body: {problem}" for problem in problems_of(settings.body, input_shape)]

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of the body."""
        logits: Tensor = self.body(inputs)
        return logits

    def plain_body(self) -> Network:
        """A new network like the body before anything in it was changed; its weights mean nothing."""
        body = self.settings.body
        return network_class(body.name)(self.input_shape, self.num_classes, body.settings).train(self.training)


def linear_layers(network: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers of a network by name, without those of a subclass, which have constraints of their own."""
    for name, module in network.named_modules():
        if type(module) is nn.Linear:
            yield name, module


def exchange(network: nn.Module, name: str, layer: nn.Module) -> None:
    """Put another layer in the place of a submodule."""
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, layer)


def exchange_linear_layers(network: nn.Module, made_of: Callable[[nn.Linear], nn.Module | None]) -> None:
    """Exchange the linear layers of a network; one for which `made_of` gives None stays."""
    for name, layer in list(linear_layers(network)):
        other = made_of(layer)
        if other is not None:
            exchange(network, name, other)
