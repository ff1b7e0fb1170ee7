"""A multilayer perceptron on a window of frames, the acoustic model of Hinton, Vinyals and Dean (2015), section 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from kd_asr.features.inputs import Indexable
from kd_asr.networks.base import Network
from kd_asr.networks.decorrelation import Components, principal_components
from kd_asr.networks.dropout import ByteDropout
from kd_asr.networks.initial import draw_hidden_weights
from kd_asr.networks.views import View, Windows
from kd_asr.registry import network
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, Unit


@dataclass(frozen=True)
class DnnSettings:
    """A multilayer perceptron on a window of frames.

    Attributes:
        left_context: Frames before the classified one (Hinton and others 2015: 20).
        right_context: Frames after the classified one (Hinton and others 2015: 5).
        hidden_layers: Hidden layers (Hinton and others 2015: 8).
        hidden_units: Rectified linear units in each hidden layer (Hinton and others 2015: 2560).
        dropout: Probability that a hidden unit is dropped in training.
        input_dropout: Probability that an input is dropped in training.
        batch_normalisation: Whether the input of each hidden layer is normalised over the batch (Ioffe and Szegedy
            2015).
        initial_scale: Scale of the hidden layers' initial weights, relative to those of He and others (2015).
        principal_components: Principal components of the window that the first layer sees while it is trained; 0: the
            window itself. The saved network takes windows in both cases.
        whitening: Share of the components' differences in variance that is removed: 0 nothing, 1 all.
    """

    left_context: Annotated[int, AtLeast(0), AtMost(1000), Unit("frames")] = 7
    right_context: Annotated[int, AtLeast(0), AtMost(1000), Unit("frames")] = 7
    hidden_layers: Annotated[int, AtLeast(0), AtMost(1000)] = 3
    hidden_units: Annotated[int, AtLeast(1), AtMost(100_000)] = 384
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.1
    input_dropout: Annotated[float, AtLeast(0), Below(1)] = 0.0
    batch_normalisation: bool = True
    initial_scale: Annotated[float, Above(0)] = 1.0
    principal_components: Annotated[int, AtLeast(0), AtMost(1_000_000)] = 0
    whitening: Annotated[float, AtLeast(0)] = 0.5


@network("dnn")
class DNN(Network):
    """`hidden_layers` fully connected layers of rectified linear units and a linear output layer.

    Input (batch, input_size) float; output (batch, num_classes) logits.
    """

    Settings = DnnSettings

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: DnnSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        layers: list[nn.Module] = []
        self.input_dropout = ByteDropout(settings.input_dropout)
        dimension = self.input_size
        widths: dict[str, int] = {}
        for _ in range(settings.hidden_layers):
            # Batch normalisation has a shift of its own: a bias before it would do nothing.
            layers.append(nn.Linear(dimension, settings.hidden_units, bias=not settings.batch_normalisation))
            if settings.batch_normalisation:
                layers.append(nn.BatchNorm1d(settings.hidden_units))
            widths[f"hidden.{len(layers)}"] = settings.hidden_units
            layers.append(nn.ReLU(inplace=True))
            if settings.dropout > 0:
                layers.append(ByteDropout(settings.dropout))
            dimension = settings.hidden_units
        self._widths = widths
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(dimension, num_classes)
        self.reset_parameters()

    @classmethod
    def view(cls, settings: DnnSettings) -> View:
        """Windows."""
        return Windows(settings.left_context, settings.right_context)

    @classmethod
    def problems(cls, settings: DnnSettings, input_shape: tuple[int, ...]) -> list[str]:
        """More principal components than inputs."""
        inputs = int(torch.Size(input_shape).numel())
        if settings.principal_components <= inputs:
            return []
        return [f"principal_components: {settings.principal_components} are more than the {inputs} inputs"]

    @classmethod
    def for_training(
        cls, inputs: Indexable, input_shape: tuple[int, ...], num_classes: int, settings: DnnSettings
    ) -> Network:
        """The network itself, or one behind the inputs' principal components."""
        if settings.principal_components == 0:
            return cls(input_shape, num_classes, settings)
        # Weights first: inputs with random augmentation draw from the same generator.
        behind = cls((settings.principal_components,), num_classes, settings)
        components = principal_components(inputs, settings.principal_components, settings.whitening)
        return DecorrelatedDNN(behind, components, input_shape)

    @property
    def taps(self) -> Mapping[str, int]:
        """The rectified hidden layers."""
        return self._widths

    @property
    def first_layer(self) -> nn.Linear:
        """The layer that sees the inputs."""
        first = self.hidden[0] if len(self.hidden) else self.output
        assert isinstance(first, nn.Linear)
        return first

    @property
    def first_layer_name(self) -> str:
        """Name of the first layer in the state dictionary."""
        return "hidden.0" if len(self.hidden) else "output"

    def reset_parameters(self) -> None:
        """Draw initial weights from torch's global generator: `draw_hidden_weights`, and small weights for the
        output."""
        for module in self.hidden:
            if isinstance(module, nn.Linear):
                draw_hidden_weights(module, self.settings.initial_scale)
        nn.init.xavier_normal_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, num_classes)."""
        logits: Tensor = self.output(self.hidden(self.input_dropout(inputs)))
        return logits


class DecorrelatedDNN(Network):
    """A network that sees principal components of its inputs; the map to them is not trained."""

    Settings = DnnSettings
    matrix: Tensor
    shift: Tensor

    def __init__(self, network: DNN, components: Components, input_shape: tuple[int, ...]) -> None:
        """Put the map to the components in front of `network`."""
        super().__init__(input_shape, network.num_classes, network.settings)
        self.network = network
        self.register_buffer("matrix", components.matrix)
        self.register_buffer("shift", -(components.mean @ components.matrix))

    @classmethod
    def view(cls, settings: DnnSettings) -> View:
        """Windows."""
        return DNN.view(settings)

    @property
    def taps(self) -> Mapping[str, int]:
        """Taps of the network behind the map."""
        return self.network.taps

    def tapped(self, name: str) -> nn.Module:
        """The submodule of a tap of the network behind the map."""
        return self.network.tapped(name)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, classes) logits of (batch, inputs)."""
        logits: Tensor = self.network(torch.addmm(self.shift, inputs, self.matrix))
        return logits

    @torch.no_grad()
    def as_saved(self) -> DNN:
        """The same function as a network on the inputs themselves: the map becomes part of its first layer.

        With batch normalisation the first layer has no bias, so the shift goes into its running mean. This network is
        not changed.
        """
        first = self.network.first_layer
        plain = DNN(self.input_shape, self.num_classes, self.settings)
        state = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        plain.load_state_dict({**state, self.network.first_layer_name + ".weight": first.weight @ self.matrix.T})
        moved = first.weight @ self.shift
        if first.bias is not None:
            assert plain.first_layer.bias is not None
            plain.first_layer.bias.add_(moved)
        else:
            normalisation = plain.hidden[1]
            assert isinstance(normalisation, nn.BatchNorm1d) and normalisation.running_mean is not None
            normalisation.running_mean.sub_(moved)
        plain.train(self.training)
        return plain

    def start_from(self, saved: Network) -> None:
        """Undo `as_saved`, with the map of this network: exactly if the components are the same, otherwise for inputs
        without what lies outside of this network's components."""
        state = {name: tensor.clone() for name, tensor in saved.state_dict().items()}
        name = self.network.first_layer_name
        back = torch.linalg.pinv(self.matrix.double()).T
        first = (state[f"{name}.weight"].double() @ back).float()
        moved = first @ self.shift
        state[f"{name}.weight"] = first
        if self.network.first_layer.bias is not None:
            state[f"{name}.bias"] -= moved
        else:
            state["hidden.1.running_mean"] += moved
        self.network.load_state_dict(state)
