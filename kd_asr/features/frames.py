"""From samples to log-mel frames; the one place where samples are turned into frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import soxr

from kd_asr.corpora.sound import UnusableAudio, go_to, mono_blocks, open_sound
from kd_asr.device import HOST, Device
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.torch_filterbank import torch_log_mel
from kd_asr.features.usual_speaker import Moments, UsualSpeaker

# What Kaldi's filterbank gives where there is no energy.
_NOTHING = np.log(np.finfo(np.float32).eps)
# Natural logarithm of an energy in 16-bit units squared.
_SILENT = -4.5
# So far into digital silence a codec's decay, or a window that is half in it, may reach.
_FADE_FRAMES = 10


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


@dataclass(frozen=True, eq=False)
class FileFrames:
    """The frames of one audio file, or of a part of it.

    Attributes:
        frames: (frames, bins) float32, not normalised.
        seconds: length of the file or part.
        channels: in the file.
    """

    frames: np.ndarray
    seconds: float
    channels: int


def frames_of_file(
    path: str | Path,
    settings: FeatureSettings,
    channel: int | None = None,
    *,
    first_sample: int = 0,
    num_samples: int | None = None,
    device: Device = HOST,
) -> FileFrames:
    """Frames of an audio file or a part of it, read piece by piece so that a long one needs little memory.

    Args:
        path: of a file in any format that soundfile reads, at any rate, or `archive.ark:1234`, a WAV file in a Kaldi
            archive.
        settings: filterbank settings.
        channel: the one that is used, counted from 1; None: the mean of all.
        first_sample: where the part begins, at the rate of the file.
        num_samples: length of the part at the rate of the file; None: up to its end.
        device: where the filterbank `torch` computes, which holds all samples of the file.

    Raises:
        UnusableAudio: see `corpora.sound`; or the frames are not finite.
    """
    with open_sound(path) as file:
        if first_sample:
            go_to(file, first_sample)
        source = _Counted(mono_blocks(file, channel, num_samples))
        frames = log_mel_of_blocks(resampled(source, file.samplerate, settings.sample_rate), settings, device)
        if not np.isfinite(frames).all():
            raise UnusableAudio("features that are not finite")
        return FileFrames(frames, source.samples / file.samplerate, file.channels)


def read_audio(
    path: str | Path, target_rate: int, *, first_sample: int = 0, num_samples: int | None = None
) -> np.ndarray:
    """Mono samples of an audio file or a part of it at `target_rate`, the mean of its channels.

    Args:
        path: as for `frames_of_file`.
        target_rate: Hz.
        first_sample: where the part begins, at the rate of the file.
        num_samples: length of the part at the rate of the file; None: up to its end.

    Returns:
        (samples,) float32 in -1..1.

    Raises:
        UnusableAudio: see `corpora.sound`.
    """
    with open_sound(path) as file:
        if first_sample:
            go_to(file, first_sample)
        blocks = list(resampled(mono_blocks(file, num_samples=num_samples), file.samplerate, target_rate))
    return np.concatenate([*blocks, np.zeros(0, dtype=np.float32)])


class _Counted:
    """Blocks of samples, passed on and counted."""

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._blocks = blocks
        self.samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.samples += len(block)
            yield block


def resampled(blocks: Iterable[np.ndarray], rate: int, target_rate: int) -> Iterator[np.ndarray]:
    """Blocks of (samples,) float32 at another rate, by soxr in high quality, with the bits of `librosa.resample`."""
    if rate == target_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, target_rate, 1, dtype="float32", quality="HQ")
    taken = given = 0
    for block in blocks:
        taken += len(block)
        found = stream.resample_chunk(np.ascontiguousarray(block))
        given += len(found)
        yield found
    # soxr ends up to a sample early: that one is silence, as librosa has it.
    left = num_resampled(taken, rate, target_rate) - given
    last = stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)[:left]
    yield np.concatenate([last, np.zeros(left - len(last), dtype=np.float32)])


def log_mel(samples: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """Log-mel filterbank outputs, equal to Kaldi's `compute-fbank-feats --dither=0`.

    Args:
        samples: (samples,) float32 in -1..1 at `settings.sample_rate`.
        settings: filterbank settings.

    Returns:
        (frames, num_mel_bins) float32, natural logarithm of the filter energies of the 16-bit signal.
    """
    return log_mel_of_blocks([samples], settings)


def log_mel_of_blocks(
    blocks: Iterable[np.ndarray], settings: FeatureSettings, device: Device = HOST
) -> np.ndarray:
    """`log_mel` of samples that come in blocks, by the filterbank that the settings name."""
    if settings.filterbank == "torch":
        samples = np.concatenate([*blocks, np.zeros(0, dtype=np.float32)])
        frames = torch_log_mel(samples, settings, device)
    else:
        frames = _kaldi_log_mel(blocks, settings)
    if settings.energy_floor:
        frames[frames.max(axis=1, initial=-np.inf) <= np.log(settings.energy_floor)] = _NOTHING
    return frames


def _kaldi_log_mel(blocks: Iterable[np.ndarray], settings: FeatureSettings) -> np.ndarray:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = settings.sample_rate
    options.frame_opts.frame_length_ms = settings.frame_length_ms
    options.frame_opts.frame_shift_ms = settings.frame_shift_ms
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = settings.num_mel_bins
    options.use_energy = False
    bank = kaldi_native_fbank.OnlineFbank(options)
    found: list[np.ndarray] = []
    count = 0

    def take() -> None:
        nonlocal count
        ready = bank.num_frames_ready
        if ready > count:
            found.append(np.concatenate([bank.get_frame(index) for index in range(count, ready)]))
            bank.pop(ready - count)
            count = ready

    for block in blocks:
        # Kaldi reads 16-bit integers as floats: without this factor its energy floor would cut in earlier. The library
        # reads a list faster than an array, by a fifth of the whole time.
        bank.accept_waveform(settings.sample_rate, (block * np.float32(32768.0)).tolist())
        take()
    bank.input_finished()
    take()
    return np.concatenate([*found, np.zeros(0, dtype=np.float32)]).reshape(count, settings.num_mel_bins)


def is_live(frames: np.ndarray) -> np.ndarray:
    """(frames,) bool: where not normalised log-mel frames are more than digital silence, be it of any constant level.

    Digital silence has no energy in any filter, but for what rounding leaves of a level in floating point; a signal of
    a thirtieth of a step of 16 bits has more.
    """
    live: np.ndarray = frames.max(axis=1, initial=-np.inf) > _SILENT
    return live


def counted(blocks: list[np.ndarray]) -> list[np.ndarray]:
    """(frames,) bool of each block of not normalised log-mel frames: which take part in statistics.

    Digital silence does not, nor does what fades into it, as in MP3 and Ogg files: frames close to it that are quieter
    than all that are not.
    """
    alive = [is_live(block) for block in blocks]
    if all(live.all() for live in alive):
        return alive
    near = [np.zeros_like(live) for live in alive]
    for live, beside in zip(alive, near, strict=True):
        for place in np.flatnonzero(~live):
            beside[max(0, place - _FADE_FRAMES) : place + _FADE_FRAMES + 1] = True
    loudness = [block.mean(axis=1) for block in blocks]
    away = [loud[~beside] for loud, beside in zip(loudness, near, strict=True)]
    quietest = min((loud.min() for loud in away if len(loud)), default=-np.inf)
    return [live & (~beside | (loud >= quietest)) for live, beside, loud in zip(alive, near, loudness, strict=True)]


def moments(blocks: list[np.ndarray]) -> Moments:
    """Those of all frames of some blocks, each (frames, bins) float32, that are `counted`."""
    chosen = [block[live] for block, live in zip(blocks, counted(blocks), strict=True)]
    frames = np.concatenate(chosen).astype(np.float64)
    bins = blocks[0].shape[1]
    return Moments(len(frames), *((frames.mean(axis=0), frames.var(axis=0)) if len(frames) else np.zeros((2, bins))))


def normalise(blocks: list[np.ndarray], usual: UsualSpeaker | None = None) -> list[np.ndarray]:
    """Give the frames of all blocks together mean 0 and variance 1 in each bin.

    Frames of digital silence, and those that fade into it, take no part in the statistics, and become as quiet as the
    quietest other ones.

    Args:
        blocks: of one speaker or utterance, each (frames, bins) float32.
        usual: whose frames count beside those of the blocks where these are few; None: they alone count.

    Returns:
        The blocks, shifted and scaled. A bin that never varies becomes 0.
    """
    alive = counted(blocks)
    if not all(live.all() for live in alive) and any(live.any() for live in alive):
        lowest = np.min(
            [block[live].min(axis=0) for block, live in zip(blocks, alive, strict=True) if live.any()], axis=0
        )
        blocks = [np.where(live[:, None], block, lowest) for block, live in zip(blocks, alive, strict=True)]
    else:
        alive = [np.ones(len(block), dtype=bool) for block in blocks]
    chosen = [block if live.all() else block[live] for block, live in zip(blocks, alive, strict=True)]
    count = sum(len(block) for block in chosen)
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in chosen) / count
    prior = usual.prior(count, mean) if usual is not None else None
    if prior is not None and prior.count:
        mean = (count * mean + prior.count * prior.mean) / (count + prior.count)
    centred = [block - mean.astype(np.float32) for block in blocks]
    deviations = [block if live.all() else block[live] for block, live in zip(centred, alive, strict=True)]
    variance = sum(np.square(block).sum(axis=0, dtype=np.float64) for block in deviations) / count
    if prior is not None and prior.count:
        of_prior = prior.variance + np.square(prior.mean - mean)
        variance = (count * variance + prior.count * of_prior) / (count + prior.count)
    scale = np.where(variance > 1e-10, 1.0 / np.sqrt(np.maximum(variance, 1e-10)), 0.0).astype(np.float32)
    return [block * scale for block in centred]
