"""The time-delay neural network (Waibel and others 1989; with dilations, Peddinti, Povey, Khudanpur, Interspeech 2015).

Each layer sees three frames of the layer below, further apart the higher the layer is, so that the output sees a wide
context with few weights, and what neighbouring frames share is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from kd_asr.networks.dilated import Dilated
from kd_asr.networks.dropout import ByteDropout
from kd_asr.networks.initial import draw_hidden_weights
from kd_asr.networks.views import Chunks, View
from kd_asr.registry import network
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, NotEmpty, Unit


@dataclass(frozen=True)
class TdnnSettings:
    """A time-delay network on stretches of frames.

    Attributes:
        dilations: Distance, for each hidden layer, between the three frames that it sees of the layer below.
        hidden_units: Rectified linear units in each hidden layer.
        dropout: Probability that a hidden unit is dropped in training.
        input_dropout: Probability that an input is dropped in training.
        batch_normalisation: Whether the input of each hidden layer is normalised over the batch (Ioffe and Szegedy
            2015).
        initial_scale: Scale of the hidden layers' initial weights, relative to those of He and others (2015).
        chunk_frames: Consecutive frames of an utterance that are learnt together; a batch holds several such chunks.
        frame_stride: Distance between the frames of a chunk. Neighbours are much alike: with chunks of every third
            frame a batch covers three times as much speech. Every frame is still learnt once in an epoch, and
            recognition uses all frames.
    """

    dilations: Annotated[tuple[Annotated[int, AtLeast(1), Unit("frames")], ...], NotEmpty] = (1, 3, 3, 3, 3, 6)
    hidden_units: Annotated[int, AtLeast(1), AtMost(100_000)] = 384
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.1
    input_dropout: Annotated[float, AtLeast(0), Below(1)] = 0.0
    batch_normalisation: bool = True
    initial_scale: Annotated[float, Above(0)] = 1.0
    chunk_frames: Annotated[int, AtLeast(1), AtMost(100_000), Unit("frames")] = 40
    frame_stride: Annotated[int, AtLeast(1), AtMost(1000), Unit("frames")] = 1


class TDNNLayer(nn.Module):
    """Three frames of the layer below, `dilation` apart, through a linear map, batch normalisation and rectification.

    Input (batch, frames, inputs) float; output (batch, frames - 2 * dilation, units).
    """

    def __init__(self, inputs: int, units: int, dilation: int, settings: TdnnSettings) -> None:
        super().__init__()
        self.dilation = dilation
        self.linear = nn.Linear(3 * inputs, units, bias=not settings.batch_normalisation)
        self.normalisation = nn.BatchNorm1d(units) if settings.batch_normalisation else nn.Identity()
        self.dropout = ByteDropout(settings.dropout)
        draw_hidden_weights(self.linear, settings.initial_scale)

    def forward(self, inputs: Tensor, *, input_stride: int = 1, output_stride: int = 1) -> Tensor:
        """Outputs for the frames that have a neighbour on either side.

        Args:
            inputs: (batch, frames, inputs), every `input_stride`-th frame.
            input_stride: a divisor of the dilation.
            output_stride: a multiple of `input_stride`; only every `output_stride`-th frame is computed.
        """
        apart, step = self.dilation // input_stride, output_stride // input_stride
        last = inputs.shape[1] - 2 * apart
        spliced = torch.cat([inputs[:, first : first + last : step] for first in (0, apart, 2 * apart)], dim=2)
        outputs: Tensor = self.normalisation(self.linear(spliced).flatten(0, 1))
        return self.dropout(outputs.relu_()).unflatten(0, (len(inputs), -1))  # type: ignore[no-any-return]


@network("tdnn")
class TDNN(Dilated):
    """A stack of `TDNNLayer`, one for each of `settings.dilations`, and a linear output layer.

    Input (batch, left + frames + right, num_mel_bins) float, where left and right are the view's context; output
    (batch * frames, num_classes) logits, piece by piece. In training mode or with `only_labelled` there are logits only
    for the first frame and every `settings.frame_stride`-th after it, as in Peddinti and others; a layer computes only
    the frames that the layers above need.
    """

    Settings = TdnnSettings

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: TdnnSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        self.input_dropout = ByteDropout(settings.input_dropout)
        sizes = [*input_shape, *[settings.hidden_units] * len(settings.dilations)]
        self.hidden = nn.Sequential(
            *(
                TDNNLayer(inputs, settings.hidden_units, dilation, settings)
                for inputs, dilation in zip(sizes[:-1], settings.dilations, strict=True)
            )
        )
        self.output = nn.Linear(sizes[-1], num_classes)
        nn.init.xavier_normal_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @classmethod
    def view(cls, settings: TdnnSettings) -> View:
        """Chunks."""
        context = sum(settings.dilations)
        return Chunks(settings.chunk_frames, settings.frame_stride, context, context)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch * frames, num_classes); in training mode and with `only_labelled` only of every
        `frame_stride`-th frame."""
        outputs, stride = self.input_dropout(inputs), 1
        for number, layer in enumerate(self.hidden):
            computed = self._computed(number)
            outputs, stride = layer(outputs, input_stride=stride, output_stride=computed), computed
        logits: Tensor = self.output(outputs.flatten(0, 1))
        return logits
