"""Transforms of inputs that leave their labels, and the frames that these belong to, where they are.

Each is a function of a batch of inputs, made from the description of the inputs that saved networks carry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_asr.device import Movable
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.vocal_tract import warp_matrix


@dataclass(frozen=True)
class Same:
    """The inputs themselves."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """`inputs`."""
        return inputs


@dataclass(frozen=True)
class Warp(Movable):
    """A vocal tract of another length, in windows or stretches of frames.

    Attributes:
        matrix: (bins, bins), of `vocal_tract.warp_matrix`.
    """

    matrix: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs of the same shape."""
        return (inputs.reshape(-1, len(self.matrix)) @ self.matrix).view_as(inputs)


@dataclass(frozen=True)
class Hide(Movable):
    """Some filterbank outputs at 0, the mean of normalised frames.

    Attributes:
        kept: (bins,) 1 for outputs that stay, 0 for others.
    """

    kept: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs of the same shape."""
        return (inputs.reshape(-1, len(self.kept)) * self.kept).view_as(inputs)


@dataclass(frozen=True)
class Shift:
    """Square images moved by whole pixels; what comes in from beyond the border is 0.

    Attributes:
        side: Pixels of a side.
        right: Pixels to the right, negative to the left.
        down: Pixels down, negative up.
    """

    side: int
    right: int
    down: int

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs of the same shape."""
        images = inputs.reshape(-1, self.side, self.side)
        return F.pad(images, (self.right, -self.right, self.down, -self.down)).reshape(inputs.shape)


Transform = Same | Warp | Hide | Shift


def speech_transforms(
    description: Mapping[str, object], *, warps: Sequence[float], hidden_bands: int
) -> list[Transform]:
    """Transforms of log-mel frames, the identity first.

    Args:
        description: settings of the features.
        warps: factors of vocal-tract warps.
        hidden_bands: equal bands of filterbank outputs, one of which is hidden at a time; 0: none.
    """
    features = FeatureSettings(**description)  # type: ignore[arg-type]
    places = torch.arange(features.num_mel_bins) * hidden_bands // features.num_mel_bins
    hidden = [Hide((places != band).float()) for band in range(hidden_bands)]
    return [Same(), *(Warp(warp_matrix(factor, features)) for factor in warps), *hidden]


def image_transforms(pixels: int, *, shift_pixels: int) -> list[Transform]:
    """Transforms of square images, the identity first: moved to the left, to the right, up and down; 0: the identity
    alone.

    Args:
        pixels: of an image.
        shift_pixels: how far.
    """
    if shift_pixels == 0:
        return [Same()]
    side = math.isqrt(pixels)
    moved = [(shift_pixels, 0), (-shift_pixels, 0), (0, shift_pixels), (0, -shift_pixels)]
    return [Same(), *(Shift(side, right, down) for right, down in moved)]
