"""The time-delay neural network (Waibel and others 1989; with dilations, Peddinti, Povey, Khudanpur, Interspeech 2015).

Each layer sees three frames of the one below, further apart the higher it stands, so that the output sees a wide
context with few weights, and what neighbouring frames have in common is computed once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_asr.networks.dnn import draw_hidden_weights
from kd_asr.networks.dropout import ByteDropout
from kd_asr.networks.settings import NetworkSettings


class TDNNLayer(nn.Module):
    """Three frames of the layer below, `dilation` apart, through a linear map, batch normalisation and rectification.

    Input (batch, frames, inputs) float; output (batch, frames - 2 * dilation, units).
    """

    def __init__(self, inputs: int, units: int, dilation: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.dilation = dilation
        self.linear = nn.Linear(3 * inputs, units, bias=not settings.batch_normalisation)
        self.normalisation = nn.BatchNorm1d(units) if settings.batch_normalisation else nn.Identity()
        self.dropout = ByteDropout(settings.dropout)
        draw_hidden_weights(self.linear.weight, settings)
        if self.linear.bias is not None:
            nn.init.zeros_(self.linear.bias)

    def forward(self, inputs: Tensor, *, given: int = 1, wanted: int = 1) -> Tensor:
        """Outputs for the frames that have a neighbour on either side.

        Args:
            inputs: of every `given`-th frame, which divides the dilation.
            wanted: a multiple of `given`; outputs are computed for every `wanted`-th frame alone.
        """
        apart, step = self.dilation // given, wanted // given
        last = inputs.shape[1] - 2 * apart
        spliced = torch.cat([inputs[:, first : first + last : step] for first in (0, apart, 2 * apart)], dim=2)
        outputs: Tensor = self.normalisation(self.linear(spliced).flatten(0, 1))
        return self.dropout(outputs.relu_()).unflatten(0, (len(inputs), -1))  # type: ignore[no-any-return]


class TDNN(nn.Module):
    """A stack of `TDNNLayer`, one for each of `settings.dilations`, and a linear output layer.

    Input (batch, left + frames + right, num_mel_bins) float, where left and right are `settings.context`; output
    (batch * frames, num_classes) logits, the frames of one piece after those of another.

    Attributes:
        stride: in training mode there are logits for the first of the frames and every `stride`-th after it alone, as
            Peddinti and others train; where the layers above ask for no other frames, a layer computes no others. Not
            part of the model.
    """

    def __init__(self, num_mel_bins: int, num_classes: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.input_dimension = num_mel_bins
        self.input_dropout = ByteDropout(settings.input_dropout)
        sizes = [num_mel_bins, *[settings.hidden_units] * len(settings.dilations)]
        self.hidden = nn.Sequential(
            *(
                TDNNLayer(inputs, settings.hidden_units, dilation, settings)
                for inputs, dilation in zip(sizes[:-1], settings.dilations, strict=True)
            )
        )
        self.output = nn.Linear(sizes[-1], num_classes)
        self.stride = 1
        nn.init.xavier_normal_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch * frames, num_classes), where in training mode frames are those that the stride leaves."""
        stride = self.stride if self.training else 1
        outputs, given = self.input_dropout(inputs), 1
        for number, layer in enumerate(self.hidden):
            above = self.settings.dilations[number + 1 :]
            wanted = stride if all(dilation % stride == 0 for dilation in above) else 1
            outputs, given = layer(outputs, given=given, wanted=wanted), wanted
        logits: Tensor = self.output(outputs.flatten(0, 1))
        return logits


def seeded_tdnn(num_mel_bins: int, num_classes: int, settings: NetworkSettings, seed: int, *, stride: int = 1) -> TDNN:
    """A network whose initial weights depend on `seed` alone; torch's global generator is left as it was.

    `stride`: of the frames it learns from, see `TDNN`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TDNN(num_mel_bins, num_classes, settings)
    model.stride = stride
    return model
