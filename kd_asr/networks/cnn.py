"""A small convolutional network on a window of frames, or on an image (Abdel-Hamid and others 2014; Sainath and others
2013). The outputs of its two convolution layers are pooled over frequency, so that a pattern may lie a little higher or
lower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from kd_asr.networks.base import Network
from kd_asr.networks.dropout import ByteDropout
from kd_asr.networks.initial import draw_hidden_weights
from kd_asr.networks.views import View, Windows
from kd_asr.registry import network
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, Unit

_CONVOLUTIONS = 2


@dataclass(frozen=True)
class CnnSettings:
    """A convolutional network on a window of frames.

    Attributes:
        left_context: Frames before the classified one.
        right_context: Frames after the classified one.
        channels: Channels of the first convolution layer; the second one has twice as many.
        pooled_bins: Width, in bins, of the max-pooling over frequency after each convolution layer.
        hidden_layers: Fully connected hidden layers above the convolutions.
        hidden_units: Rectified linear units in each fully connected hidden layer.
        dropout: Probability that a unit of these layers is dropped in training.
        initial_scale: Scale of the initial weights below the output, relative to those of He and others (2015).
    """

    left_context: Annotated[int, AtLeast(0), AtMost(1000), Unit("frames")] = 5
    right_context: Annotated[int, AtLeast(0), AtMost(1000), Unit("frames")] = 5
    channels: Annotated[int, AtLeast(1), AtMost(10_000)] = 16
    pooled_bins: Annotated[int, AtLeast(1), AtMost(500), Unit("bins")] = 2
    hidden_layers: Annotated[int, AtLeast(0), AtMost(1000)] = 1
    hidden_units: Annotated[int, AtLeast(1), AtMost(100_000)] = 256
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.1
    initial_scale: Annotated[float, Above(0)] = 1.0


@network("cnn")
class CNN(Network):
    """Two 3 x 3 convolution layers with pooling, fully connected hidden layers, all with batch normalisation, and a
    linear output layer.

    Input (batch, frames * bins) float; output (batch, num_classes) logits.
    """

    Settings = CnnSettings

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: CnnSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        frames, bins = input_shape
        layers: list[nn.Module] = []
        channels = 1
        for number in range(_CONVOLUTIONS):
            wider = settings.channels << number
            layers += [
                nn.Conv2d(channels, wider, 3, padding=1, bias=False),
                nn.BatchNorm2d(wider),
                nn.ReLU(inplace=True),
                nn.MaxPool2d((1, settings.pooled_bins)),
            ]
            channels, bins = wider, bins // settings.pooled_bins
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        dimension = channels * frames * bins
        self._widths = {f"convolutions.{len(layers)}": dimension}
        layers = []
        for _ in range(settings.hidden_layers):
            layers += [
                nn.Linear(dimension, settings.hidden_units, bias=False),
                nn.BatchNorm1d(settings.hidden_units),
            ]
            self._widths[f"hidden.{len(layers)}"] = settings.hidden_units
            layers += [nn.ReLU(inplace=True), ByteDropout(settings.dropout)]
            dimension = settings.hidden_units
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(dimension, num_classes)
        for module in (*self.convolutions, *self.hidden):
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                draw_hidden_weights(module, settings.initial_scale)
        nn.init.xavier_normal_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @classmethod
    def view(cls, settings: CnnSettings) -> View:
        """Windows."""
        return Windows(settings.left_context, settings.right_context)

    @classmethod
    def problems(cls, settings: CnnSettings, input_shape: tuple[int, ...]) -> list[str]:
        """Inputs that are not two-dimensional, or too small for the pooling."""
        if len(input_shape) != 2:
            return [f"channels: a convolutional network sees windows or images, not inputs of {len(input_shape)} axes"]
        if input_shape[1] < settings.pooled_bins**_CONVOLUTIONS:
            return [f"pooled_bins: {settings.pooled_bins}, pooled twice, leave nothing of {input_shape[1]} bins"]
        return []

    @property
    def taps(self) -> Mapping[str, int]:
        """The outputs of the convolutions, and the rectified hidden layers."""
        return self._widths

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, num_classes)."""
        planes = inputs.view(len(inputs), 1, *self.input_shape)
        logits: Tensor = self.output(self.hidden(self.convolutions(planes)))
        return logits
