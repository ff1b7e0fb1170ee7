"""From samples to log-mel frames; the one place where samples are turned into frames."""

from __future__ import annotations

from pathlib import Path

import kaldi_native_fbank
import numpy as np
import soxr

from kd_asr.corpora.audio import open_audio
from kd_asr.features.settings import FeatureSettings


def num_resampled(num_samples: int, sample_rate: int, target_rate: int) -> int:
    """Samples that a file of `num_samples` at `sample_rate` has after resampling to `target_rate`."""
    return -(-num_samples * target_rate // sample_rate)


def num_frames(num_samples: int, sample_rate: int, settings: FeatureSettings) -> int:
    """Frames of a file, as Kaldi counts them with `snip_edges`: only windows that lie wholly inside the signal.

    Args:
        num_samples: length of the file in samples.
        sample_rate: of the file, Hz; the count is made after resampling to `settings.sample_rate`.
        settings: window length and shift.
    """
    samples = num_resampled(num_samples, sample_rate, settings.sample_rate)
    window = int(settings.sample_rate * settings.frame_length_ms / 1000)
    shift = int(settings.sample_rate * settings.frame_shift_ms / 1000)
    return 0 if samples < window else 1 + (samples - window) // shift


def read_audio(path: str | Path, target_rate: int, *, first_sample: int = 0, num_samples: int = -1) -> np.ndarray:
    """Mono samples of an audio file, or of a part of it, at `target_rate`.

    Channels are averaged; other rates are resampled by soxr in high quality, with the bits of `librosa.resample`.

    Args:
        path: of a file that soundfile reads, or `archive.ark:1234`, a WAV file in a Kaldi archive.
        target_rate: Hz.
        first_sample: where the part begins, at the rate of the file.
        num_samples: length of the part at the rate of the file; -1: up to its end.

    Returns:
        (samples,) float32 in -1..1.

    Raises:
        soundfile.LibsndfileError: the file cannot be read.
        OSError: the archive cannot be read.
    """
    with open_audio(path) as file:
        if first_sample:
            file.seek(first_sample)
        samples, rate = file.read(num_samples, dtype="float32"), file.samplerate
    mono: np.ndarray = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)
    if rate == target_rate:
        return mono
    resampled = np.zeros(num_resampled(len(mono), rate, target_rate), dtype=np.float32)
    # soxr ends up to a sample early: that one is silence, as librosa has it.
    found = soxr.resample(mono, rate, target_rate, quality="HQ")[: len(resampled)]
    resampled[: len(found)] = found
    return resampled


def log_mel(samples: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """Log-mel filterbank outputs, equal to Kaldi's `compute-fbank-feats --dither=0`.

    Args:
        samples: (samples,) float32 in -1..1 at `settings.sample_rate`.
        settings: filterbank settings.

    Returns:
        (frames, num_mel_bins) float32, natural logarithm of the filter energies of the 16-bit signal.
    """
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = settings.sample_rate
    options.frame_opts.frame_length_ms = settings.frame_length_ms
    options.frame_opts.frame_shift_ms = settings.frame_shift_ms
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = settings.num_mel_bins
    options.use_energy = False
    bank = kaldi_native_fbank.OnlineFbank(options)
    # Kaldi reads 16-bit integers as floats: without this factor its energy floor would cut in earlier. The library
    # reads a list faster than an array, by a fifth of the whole time.
    bank.accept_waveform(settings.sample_rate, (samples * np.float32(32768.0)).tolist())
    bank.input_finished()
    count = bank.num_frames_ready
    if count == 0:
        return np.zeros((0, settings.num_mel_bins), dtype=np.float32)
    frames = np.concatenate([bank.get_frame(index) for index in range(count)])
    return frames.reshape(count, settings.num_mel_bins)


def normalise(blocks: list[np.ndarray]) -> list[np.ndarray]:
    """Give the frames of all blocks together mean 0 and variance 1 in each bin.

    Args:
        blocks: of one speaker or utterance, each (frames, bins) float32.

    Returns:
        The blocks, shifted and scaled. A bin that never varies becomes 0.
    """
    count = sum(len(block) for block in blocks)
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / count
    centred = [block - mean.astype(np.float32) for block in blocks]
    variance = sum(np.square(block).sum(axis=0, dtype=np.float64) for block in centred) / count
    scale = np.where(variance > 1e-10, 1.0 / np.sqrt(np.maximum(variance, 1e-10)), 0.0).astype(np.float32)
    return [block * scale for block in centred]
