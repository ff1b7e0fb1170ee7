"""Acoustics of a recording: room, microphone and noise. Pure functions of samples and a generator.

Samples are float64, one channel, full scale 1. Everything is NumPy, so that the same generator gives the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DECAY_60_DB = np.log(1e3)  # amplitude falls by e^-6.9 = 60 dB


@dataclass(frozen=True)
class Difficulty:
    """Difficulty of the embedded corpus's recordings; values are drawn uniformly from their ranges.

    Attributes:
        snr_db: Power of the speech relative to all noise, in dB, drawn for each utterance.
        reverberation_seconds: T60 of the room, drawn for each chapter.
        direct_to_reverberant_db: Energy of the direct sound relative to the reverberation, in dB, drawn for each
            chapter.
        colour_db: Largest gain of the microphone's uneven response in either direction, in dB.
        babble: Share of the noise power that is babble of voices; the other part is coloured noise.
    """

    snr_db: tuple[float, float] = (2.0, 18.0)
    reverberation_seconds: tuple[float, float] = (0.2, 0.6)
    direct_to_reverberant_db: tuple[float, float] = (0.0, 9.0)
    colour_db: float = 5.0
    babble: tuple[float, float] = (0.0, 0.8)


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Band-limited resampling by cutting or padding the spectrum; (samples,) -> (new samples,).

    The signal is treated as periodic, so it should begin and end in silence. The result has round(samples * new_rate /
    rate) samples, and sample n of it lies at n / new_rate seconds.
    """
    divisor = np.gcd(rate, new_rate)
    up, down = new_rate // divisor, rate // divisor
    num_output = round(len(samples) * up / down)
    # Fast lengths only: a multiple of `down` whose cofactor is smooth, so that no transform is of prime length.
    blocks = _smooth(-(-len(samples) // down) + 1)
    spectrum = np.fft.rfft(samples, blocks * down)
    resampled: np.ndarray = np.fft.irfft(spectrum[: blocks * up // 2 + 1], blocks * up)[:num_output] * (up / down)
    return resampled


def _smooth(least: int) -> int:
    """The smallest number >= `least` without prime factors other than 2, 3 and 5."""
    number = least
    while True:
        rest = number
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return number
        number += 1


def convolve(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Linear convolution cut to the length of `samples`."""
    length = _smooth(len(samples) + len(response) - 1)
    return np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(response, length), length)[: len(samples)]


def room_response(
    rng: np.random.Generator, rate: int, reverberation_seconds: float, direct_to_reverberant_db: float
) -> np.ndarray:
    """Impulse response of a room: direct sound at sample 0, then noise that decays exponentially.

    Polack's stochastic model (J.-D. Polack, La transmission de l'energie sonore dans les salles, 1988): after the first
    reflection, the response is white Gaussian noise times exp(-6.9 t / T60). The noise is smoothed over two samples, so
    that higher frequencies decay sooner. The time of the direct sound is kept, so phoneme times stay correct.
    """
    first_reflection = int(rate * rng.uniform(0.002, 0.01))
    times = np.arange(int(rate * reverberation_seconds)) / rate
    tail = rng.standard_normal(len(times)) * np.exp(-DECAY_60_DB * times / reverberation_seconds)
    tail[1:] = 0.6 * tail[1:] + 0.4 * tail[:-1]
    tail *= np.sqrt(10 ** (-direct_to_reverberant_db / 10) / np.sum(tail**2))
    response = np.zeros(first_reflection + len(tail))
    response[0] = 1.0
    response[first_reflection:] += tail
    return response


def microphone_response(rng: np.random.Generator, rate: int, colour_db: float, length: int = 256) -> np.ndarray:
    """A short minimum-phase filter with a smooth, uneven gain of at most `colour_db` in either direction."""
    corners = np.array([0.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0, rate / 2])
    gains_db = rng.uniform(-colour_db, colour_db, len(corners))
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    log_gain = np.interp(np.log1p(frequencies), np.log1p(corners), gains_db) * (np.log(10) / 20)
    # Minimum phase through the folded real cepstrum (Oppenheim & Schafer, Discrete-Time Signal Processing, ch. 13).
    cepstrum = np.fft.irfft(log_gain, length)
    cepstrum[1 : length // 2] *= 2
    cepstrum[length // 2 + 1 :] = 0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), length)


def coloured_noise(rng: np.random.Generator, num_samples: int, exponent: float) -> np.ndarray:
    """Gaussian noise with power falling as 1 / f^exponent, mean power 1: 0 is white, 1 pink, 2 brown."""
    length = _smooth(max(num_samples, 2))
    spectrum = np.fft.rfft(rng.standard_normal(length))
    index = np.maximum(np.arange(len(spectrum)), length / 400)  # flat below 1/400 of the rate, as rumble is filtered
    return unit_power(np.fft.irfft(spectrum * index ** (-exponent / 2), length)[:num_samples])


def babble(rng: np.random.Generator, voices: Sequence[np.ndarray], num_samples: int, talkers: int = 6) -> np.ndarray:
    """Several talkers at once, mean power 1: random pieces of `voices`, reversed and added."""
    total = np.zeros(num_samples)
    for _ in range(talkers):
        voice = voices[int(rng.integers(len(voices)))]
        total += np.roll(np.resize(voice[::-1], num_samples), int(rng.integers(num_samples)))
    return unit_power(total)


def unit_power(samples: np.ndarray) -> np.ndarray:
    """Samples scaled to a mean power of 1; silence stays silence."""
    power = float(np.mean(samples**2))
    return samples / np.sqrt(power) if power > 0 else samples


def add_noise(speech: np.ndarray, noise: np.ndarray, snr_db: float, active: slice) -> np.ndarray:
    """`speech` plus `noise` of mean power 1, scaled to `snr_db` below the mean power of the speech in `active`."""
    power = float(np.mean(speech[active] ** 2))
    noisy: np.ndarray = speech + noise * np.sqrt(power / 10 ** (snr_db / 10))
    return noisy


def set_level(samples: np.ndarray, level_db: float, peak: float = 0.95) -> np.ndarray:
    """Samples scaled to a mean power of `level_db` relative to full scale, or less to keep them within `peak`."""
    scaled = unit_power(samples) * 10 ** (level_db / 20)
    highest = float(np.max(np.abs(scaled), initial=0.0))
    return scaled * (peak / highest) if highest > peak else scaled
