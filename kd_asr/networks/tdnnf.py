"""The factored time-delay network (Povey, Cheng, Wang, Li, Xu, Yarmohammadi, Khudanpur, Interspeech 2018).

Each layer's matrix is a product of two with a narrow bottleneck between them. The first is kept semi-orthogonal, so
that the bottleneck loses as little as it can. Both see two frames, so a layer sees three, with few weights. What a
layer sees is added to what it gives, so that many of them can be trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from kd_asr.networks.dilated import Dilated
from kd_asr.networks.dropout import ByteDropout
from kd_asr.networks.initial import draw_hidden_weights
from kd_asr.networks.semi_orthogonal import SemiOrthogonal
from kd_asr.networks.views import Chunks, View
from kd_asr.registry import network
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, NotEmpty, Unit

# Distance between the three frames that the first layer sees.
_FIRST = 1


@dataclass(frozen=True)
class TdnnfSettings:
    """A factored time-delay network on stretches of frames.

    The defaults are the size of Kaldi's network for mini LibriSpeech: 12 factored layers, about 5 million parameters.

    Attributes:
        dilations: For each factored layer, the distance between the frames that it sees of the layer below; 0: it sees
            one frame. Below them is a layer that sees three neighbouring frames of the input.
        hidden_units: Rectified linear units in each hidden layer.
        bottleneck: Width of the bottleneck inside each factored layer, as a share of the hidden units.
        final_bottleneck: Width of the bottlenecks before and after the last hidden layer, as a share of the hidden
            units.
        bypass: Factor of a layer's input in its output (Povey and others 2018: 0.66).
        dropout: Probability that a hidden unit is dropped in training.
        cross_entropy_branch: Whether the network has a second last hidden layer and output, which in training give as
            many logits again after the first ones; for the loss `lfmmi`.
        chunk_frames: Consecutive frames of an utterance that are learnt together; a batch holds several such chunks.
        frame_stride: Distance between the frames of a chunk, see the network `tdnn`.
    """

    dilations: Annotated[tuple[Annotated[int, AtLeast(0), Unit("frames")], ...], NotEmpty] = (
        *(1, 1, 1, 0),
        *(3, 3, 3, 3, 3, 3, 3, 3),
    )
    hidden_units: Annotated[int, AtLeast(1), AtMost(100_000)] = 768
    bottleneck: Annotated[float, Above(0), AtMost(1)] = 0.125
    final_bottleneck: Annotated[float, Above(0), AtMost(1)] = 0.25
    bypass: Annotated[float, AtLeast(0), AtMost(1)] = 0.66
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.1
    cross_entropy_branch: bool = False
    chunk_frames: Annotated[int, AtLeast(1), AtMost(100_000), Unit("frames")] = 40
    frame_stride: Annotated[int, AtLeast(1), AtMost(1000), Unit("frames")] = 1


class FactoredLayer(nn.Module):
    """Two frames into a bottleneck, two frames of the bottleneck into rectified units, normalisation, and the bypass.

    Input (batch, frames, units) float; output (batch, frames - 2 * dilation, units).
    """

    def __init__(self, settings: TdnnfSettings, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.bypass = settings.bypass
        units, narrow, seen = settings.hidden_units, _width(settings, settings.bottleneck), 2 if dilation else 1
        self.narrow = SemiOrthogonal(seen * units, narrow)
        self.wide = nn.Linear(seen * narrow, units)
        self.normalisation = nn.BatchNorm1d(units, affine=False)
        self.dropout = ByteDropout(settings.dropout)
        draw_hidden_weights(self.wide, 1.0)

    def forward(self, inputs: Tensor, *, input_stride: int = 1, output_stride: int = 1) -> Tensor:
        """Outputs for the frames that have a neighbour on either side; arguments as those of `tdnn.TDNNLayer`."""
        apart, step = self.dilation // input_stride, output_stride // input_stride
        inside = _pairs(self.narrow(_pairs(inputs, apart)), apart)[:, ::step]
        outputs: Tensor = self.normalisation(self.wide(inside).relu().flatten(0, 1)).unflatten(0, inside.shape[:2])
        past = self.bypass * inputs[:, apart : inputs.shape[1] - apart : step]
        return self.dropout(outputs) + past  # type: ignore[no-any-return]


def _pairs(frames: Tensor, apart: int) -> Tensor:
    """Each frame beside the one that is `apart` later; the frames themselves if that is 0."""
    if apart == 0:
        return frames
    return torch.cat([frames[:, : frames.shape[1] - apart], frames[:, apart:]], dim=2)


def _width(settings: TdnnfSettings, share: float) -> int:
    return max(1, round(settings.hidden_units * share))


class _Branch(nn.Module):
    """The last hidden layer between two bottlenecks, and the output layer: (rows, narrow) to (rows, classes) logits."""

    def __init__(self, settings: TdnnfSettings, num_classes: int) -> None:
        super().__init__()
        narrow, units = _width(settings, settings.final_bottleneck), settings.hidden_units
        self.wide = nn.Linear(narrow, units)
        self.wide_normalisation = nn.BatchNorm1d(units, affine=False)
        self.narrow = SemiOrthogonal(units, narrow)
        self.narrow_normalisation = nn.BatchNorm1d(narrow, affine=False)
        self.output = nn.Linear(narrow, num_classes)
        draw_hidden_weights(self.wide, 1.0)
        nn.init.xavier_normal_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.wide_normalisation(self.wide(inputs).relu())
        logits: Tensor = self.output(self.narrow_normalisation(self.narrow(hidden)))
        return logits


@network("tdnnf")
class TDNNF(Dilated):
    """A layer on three neighbouring frames, a `FactoredLayer` for each of `settings.dilations`, and the output.

    Input and output as those of `tdnn.TDNN`; with `cross_entropy_branch`, in training mode, (batch * frames, 2 *
    num_classes) logits, those of the branch last.
    """

    Settings = TdnnfSettings

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: TdnnfSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        self.first = nn.Linear(3 * self.input_size, settings.hidden_units)
        self.first_normalisation = nn.BatchNorm1d(settings.hidden_units, affine=False)
        self.first_dropout = ByteDropout(settings.dropout)
        self.hidden = nn.ModuleList(FactoredLayer(settings, dilation) for dilation in settings.dilations)
        self.narrow = SemiOrthogonal(settings.hidden_units, _width(settings, settings.final_bottleneck))
        self.main = _Branch(settings, num_classes)
        self.cross_entropy = _Branch(settings, num_classes) if settings.cross_entropy_branch else None
        draw_hidden_weights(self.first, 1.0)

    @classmethod
    def view(cls, settings: TdnnfSettings) -> View:
        """Chunks."""
        context = _FIRST + sum(settings.dilations)
        return Chunks(settings.chunk_frames, settings.frame_stride, context, context)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch * frames, num_classes), or twice as many columns, see the class."""
        stride, last = self._computed(-1), inputs.shape[1] - 2 * _FIRST
        spliced = torch.cat([inputs[:, first : first + last : stride] for first in range(0, 3 * _FIRST, _FIRST)], dim=2)
        outputs = self.first_normalisation(self.first(spliced).relu().flatten(0, 1))
        outputs = self.first_dropout(outputs).unflatten(0, spliced.shape[:2])
        for number, layer in enumerate(self.hidden):
            computed = self._computed(number)
            outputs, stride = layer(outputs, input_stride=stride, output_stride=computed), computed
        narrow = self.narrow(outputs.flatten(0, 1))
        logits: Tensor = self.main(narrow)
        if self.training and self.cross_entropy is not None:
            logits = torch.cat([logits, self.cross_entropy(narrow)], dim=1)
        return logits
