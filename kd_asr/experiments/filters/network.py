"""The network of the experiment: `cnn` with larger filters in its first layer, which keeps its own past."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from kd_asr.networks.cnn import CNN, CnnSettings
from kd_asr.networks.initial import draw_hidden_weights
from kd_asr.settings.ranges import AtLeast, AtMost

_KEPT = "kept/"


@dataclass(frozen=True)
class FilterCnnSettings(CnnSettings):
    """A convolutional network with larger filters in its first layer. See `CnnSettings`.

    Attributes:
        kernel_height: Height of the first layer's filters: frames, or pixels.
        kernel_width: Width of these filters: mel bins, or pixels.
        keep_at: Numbers of updates after which the weights are kept; 0: before the first.
    """

    kernel_height: Annotated[int, AtLeast(1), AtMost(100)] = 9
    kernel_width: Annotated[int, AtLeast(1), AtMost(100)] = 9
    keep_at: tuple[Annotated[int, AtLeast(0)], ...] = ()


class FilterCnn(CNN):
    """A `CNN` whose first filters have a size of their own, and which keeps its weights at some moments of training.

    What is kept lies in buffers, as the running means of batch normalisation do: it is in checkpoints and in the saved
    network, and the training itself is that of the network without it, bit for bit. A forward pass in training mode is
    an update.

    Input (batch, height * width) float; output (batch, num_classes) logits.
    """

    Settings = FilterCnnSettings
    updates_seen: Tensor
    keep_at: Tensor

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: FilterCnnSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        size = (settings.kernel_height, settings.kernel_width)
        first = nn.Conv2d(1, settings.channels, size, padding="same", bias=False)
        draw_hidden_weights(first, settings.initial_scale)
        self.convolutions[0] = first
        own = self.state_dict()
        self.register_buffer("updates_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("keep_at", torch.tensor(settings.keep_at, dtype=torch.int64))
        for name, tensor in own.items():
            self.register_buffer(_kept(name), torch.zeros(len(settings.keep_at), *tensor.shape, dtype=tensor.dtype))
        self._own = tuple(own)

    @property
    def filters(self) -> Tensor:
        """(channels, height, width) filters of the first layer, with the sign of the normalisation that follows: two
        networks that differ in the sign of a filter and of its normalisation are the same function."""
        first, normalisation = self.convolutions[0], self.convolutions[1]
        assert isinstance(first, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d)
        return (first.weight[:, 0] * normalisation.weight.sign()[:, None, None]).detach()

    @property
    def taps(self) -> Mapping[str, int]:
        """The outputs of both convolution layers after pooling, and the rectified hidden layers."""
        frames, bins = self.input_shape
        width = self.settings.channels * frames * (bins // self.settings.pooled_bins)
        return {"convolutions.3": width, **super().taps}

    def tap_rows(self, name: str, outputs: Tensor) -> Tensor:
        """(examples, width) outputs of a layer."""
        return outputs.flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, num_classes)."""
        if self.training:
            self._keep()
        return super().forward(inputs)

    @torch.no_grad()
    def _keep(self) -> None:
        """Keep the weights if it is time; the same work at every update, so that the host waits for nothing."""
        due = self.keep_at == self.updates_seen
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        for name in self._own:
            now, kept = tensors[name], tensors[_kept(name)]
            kept.copy_(torch.where(due.view(-1, *[1] * now.ndim), now, kept))
        self.updates_seen.add_(1)

    def earlier(self, number: int) -> FilterCnn:
        """The network as it was at moment `number` of `keep_at`.

        Raises:
            ValueError: the training did not come so far.
        """
        if int(self.updates_seen) <= int(self.keep_at[number]):
            raise ValueError(f"{int(self.updates_seen)} updates, none after {int(self.keep_at[number])} was kept")
        found = copy.deepcopy(self)
        state = self.state_dict()
        found.load_state_dict({**state, **{name: state[_kept(name)][number] for name in self._own}})
        return found


def _kept(name: str) -> str:
    """Name of the buffer that keeps a tensor; names of buffers have no dots."""
    return _KEPT + name.replace(".", "/")
