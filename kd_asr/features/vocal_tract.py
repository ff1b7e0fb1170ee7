"""Vocal tract length perturbation (Jaitly and Hinton, ICML 2013 workshop): variation of speakers in log-mel frames.

A longer or shorter vocal tract moves the formants. The frequency axis of each window of a batch is warped by one of a
few factors, so that over the epochs a network sees a frame with many vocal tracts. The warp is an interpolation between
neighbouring bins of the finished log-mel frames; features are not computed again.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd_asr.device import HOST, Movable
from kd_asr.features.inputs import Indexable
from kd_asr.features.settings import FeatureSettings
from kd_asr.streams import generator_of

# Lowest frequency of Kaldi's filterbanks; the highest one is half the sample rate.
_LOW_HZ = 20.0
# Below this frequency, which covers the formants, the warp is linear (Jaitly and Hinton 2013).
_FORMANTS_HZ = 4800.0
# Number of warps in a batch.
_FACTORS = 9


def warped_frequency(hertz: NDArray[np.float64], factor: float, nyquist: float) -> NDArray[np.float64]:
    """Frequencies after the warp of Jaitly and Hinton (2013), section 3: `factor` times the frequency up to a knee,
    from there linear to `nyquist`, which is unchanged.

    Args:
        hertz: frequencies from 0 to `nyquist`.
        factor: warp factor; above 1, formants move up.
        nyquist: half the sample rate, Hz.
    """
    top = min(_FORMANTS_HZ, 0.6 * nyquist) * min(factor, 1.0)
    knee = top / factor
    above = nyquist - (nyquist - top) / (nyquist - knee) * (nyquist - hertz)
    return np.where(hertz <= knee, hertz * factor, above)


def warp_matrix(factor: float, features: FeatureSettings) -> Tensor:
    """(bins, bins) float32 matrix that warps frames: `frames @ matrix`; the identity for factor 1.

    Column b reads the log-mel output at the frequency that bin b's centre is warped to, interpolated linearly between
    the two nearest bins; beyond the first and last centre their values are extended.
    """
    bins, nyquist = features.num_mel_bins, features.sample_rate / 2
    low, high = (1127.0 * np.log1p(hertz / 700.0) for hertz in (_LOW_HZ, nyquist))
    step = (high - low) / (bins + 1)
    centres = 700.0 * np.expm1((low + step * np.arange(1, bins + 1)) / 1127.0)
    mel = 1127.0 * np.log1p(warped_frequency(centres, factor, nyquist) / 700.0)
    # Rounded, so that factor 1 reproduces the bins exactly.
    position = np.clip(np.round((mel - low) / step - 1.0, 9), 0, bins - 1)
    below = np.minimum(position.astype(np.int64), bins - 2)
    matrix = np.zeros((bins, bins), dtype=np.float32)
    columns = np.arange(bins)
    matrix[below, columns] = 1.0 - (position - below)
    matrix[below + 1, columns] = position - below
    return torch.from_numpy(matrix)


class WarpedWindows(Movable):
    """Windows or chunks for training, each warped by one of nine factors between 1 - `largest` and 1 + `largest`.

    On the host, the first ninth of a batch has the first factor, and so on. As batches are in random order, the factor
    of a frame is random, changes from epoch to epoch, and is the same when a training is resumed. Where the windows lie
    on another device, a factor is drawn there for each of them.
    """

    def __init__(self, windows: Indexable, largest: float, features: FeatureSettings) -> None:
        factors = np.linspace(1.0 - largest, 1.0 + largest, _FACTORS)
        self._windows = windows
        self._matrices = [warp_matrix(float(factor), features) for factor in factors]

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, examples: Tensor) -> Tensor:
        inputs = self._windows[examples]
        if examples.device != HOST.torch_device:
            return self._each_warped(inputs)
        bins = len(self._matrices[0])
        warped = torch.empty_like(inputs)
        count = len(self._matrices)
        parts = zip(inputs.tensor_split(count), warped.tensor_split(count), self._matrices, strict=True)
        for part, target, matrix in parts:
            torch.mm(part.reshape(-1, bins), matrix, out=target.view(-1, bins))
        return warped

    def _each_warped(self, inputs: Tensor) -> Tensor:
        """Every example by a factor of its own, in one batched product."""
        matrices = torch.stack(self._matrices)
        drawn = torch.randint(len(matrices), (len(inputs),), device=inputs.device, generator=generator_of(inputs))
        frames = inputs.view(len(inputs), -1, matrices.shape[1])
        return torch.bmm(frames, matrices[drawn]).view_as(inputs)
