"""Images as inputs of a network, gathered by number and jittered on the fly."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_asr.device import Movable
from kd_asr.streams import generator_of


class Images(Movable):
    """Grey images as rows of numbers 0..1: `images[(batch,) int64]` gives (batch, height * width) float32.

    With `jitter_pixels` every image is shifted each time by a whole number of pixels, up to that many in each
    direction; pixels beyond the border are 0. The shifts are drawn where the images are, from the generator whose state
    the checkpoints hold, so a resumed training sees the same ones.
    """

    def __init__(self, pixels: Tensor, *, jitter_pixels: int = 0) -> None:
        """`pixels`: (images, height, width) uint8, 0..255."""
        count, height, width = pixels.shape
        self._shifts = 2 * jitter_pixels + 1
        # A shift of the image is a window on the padded image: indices of its pixels for each shift.
        self._padded = F.pad(pixels, (jitter_pixels,) * 4).reshape(count, -1)
        padded_width = width + 2 * jitter_pixels
        corner = torch.arange(self._shifts)
        first = (corner[:, None] * padded_width + corner).reshape(-1)
        inside = (torch.arange(height)[:, None] * padded_width + torch.arange(width)).reshape(-1)
        self._windows = first[:, None] + inside

    def __len__(self) -> int:
        return len(self._padded)

    def __getitem__(self, examples: Tensor) -> Tensor:
        pixels = self._padded[examples]
        if self._shifts > 1:
            count = len(self._windows)
            drawn = torch.randint(count, (len(examples),), device=pixels.device, generator=generator_of(pixels))
            pixels = pixels.gather(1, self._windows[drawn])
        return pixels.float().div_(255)


def averaged(pixels: Tensor, scale: int) -> Tensor:
    """Images at a lower resolution: each pixel is the rounded mean of a square of `scale` times `scale` pixels.

    Args:
        pixels: (images, height, width) uint8.
        scale: a divisor of height and width.
    """
    if scale == 1:
        return pixels
    count, height, width = pixels.shape
    squares = pixels.reshape(count, height // scale, scale, width // scale, scale)
    return squares.float().mean(dim=(2, 4)).round().to(torch.uint8)
