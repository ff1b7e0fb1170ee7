"""Log-mel frames by torchaudio, on the processor or on a card."""

from __future__ import annotations

import numpy as np
import torch

from kd_asr.device import HOST, Device
from kd_asr.features.settings import FeatureSettings

# Frames computed at a time: ten minutes of speech, whose spectra take 120 MB.
_FRAMES = 60_000


def torch_log_mel(samples: np.ndarray, settings: FeatureSettings, device: Device) -> np.ndarray:
    """Log-mel filterbank outputs, equal to those of `frames.log_mel` to 1e-3.

    Args:
        samples: (samples,) float32 in -1..1 at `settings.sample_rate`.
        settings: filterbank settings.
        device: where they are computed.

    Returns:
        (frames, num_mel_bins) float32, natural logarithm of the filter energies of the 16-bit signal.
    """
    import torchaudio.compliance.kaldi  # at use: it takes half a second that most commands do not need

    window = int(settings.sample_rate * settings.frame_length_ms / 1000)
    shift = int(settings.sample_rate * settings.frame_shift_ms / 1000)
    count = max(0, 1 + (len(samples) - window) // shift)
    found = [np.zeros((0, settings.num_mel_bins), dtype=np.float32)]
    for first in range(0, count, _FRAMES):
        last = min(first + _FRAMES, count) - 1
        piece = torch.from_numpy(np.ascontiguousarray(samples[first * shift : last * shift + window]))
        frames = torchaudio.compliance.kaldi.fbank(
            device.put(piece)[None] * 32768.0,  # Kaldi reads 16-bit integers as floats
            dither=0.0,
            energy_floor=0.0,
            sample_frequency=settings.sample_rate,
            frame_length=settings.frame_length_ms,
            frame_shift=settings.frame_shift_ms,
            num_mel_bins=settings.num_mel_bins,
        )
        found.append(HOST.put(frames).numpy())
    return np.concatenate(found)
