"""Masks over time and frequency for training (SpecAugment: Park and others, Interspeech 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_asr.device import Movable
from kd_asr.features.inputs import Indexable
from kd_asr.features.settings import AugmentSettings
from kd_asr.streams import generator_of


def masked(inputs: Tensor, *, frequency_mask: int, time_mask: int) -> Tensor:
    """A copy with one band of bins and one stretch of frames of each example set to 0, the mean of normalised frames.

    Width and place of both are drawn where the inputs are, from the generator whose state the checkpoints hold: the
    width uniformly from 0 to the largest, the place uniformly among those where the mask fits (section 2).

    Args:
        inputs: (batch, frames, bins) float.
        frequency_mask: largest width in bins, at most `bins`.
        time_mask: largest width in frames, at most `frames`.
    """
    _, frames, bins = inputs.shape
    hidden = _hidden(inputs, bins, frequency_mask)[:, None, :] | _hidden(inputs, frames, time_mask)[:, :, None]
    return inputs.masked_fill(hidden, 0.0)


def _hidden(inputs: Tensor, size: int, largest: int) -> Tensor:
    """(batch, size) bool, True in one stretch of each row."""
    where, drawn = inputs.device, generator_of(inputs)
    width = torch.randint(0, largest + 1, (len(inputs), 1), device=where, generator=drawn)
    first = (torch.rand(len(inputs), 1, device=where, generator=drawn) * (size - width + 1)).long()
    place = torch.arange(size, device=where)
    return (place >= first) & (place < first + width)


class MaskedInputs(Movable):
    """Windows or chunks for training, with new random masks each time they are gathered."""

    def __init__(
        self, inputs: Indexable, settings: AugmentSettings, *, num_mel_bins: int
    ) -> None:
        self._inputs = inputs
        self._settings = settings
        self._bins = num_mel_bins

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, examples: Tensor) -> Tensor:
        seen = self._inputs[examples]
        frames = seen.view(len(seen), seen.shape[1:].numel() // self._bins, self._bins)
        time_mask = min(self._settings.time_mask, frames.shape[1])
        return masked(frames, frequency_mask=self._settings.frequency_mask, time_mask=time_mask).view_as(seen)
