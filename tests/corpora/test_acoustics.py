"""Rooms, microphones and noise against closed forms."""

import librosa
import numpy as np
import pytest

from kd_asr.corpora import acoustics

RATE = 16000


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_a_tone_survives_resampling_at_its_frequency_and_time():
    times = np.arange(22050) / 22050
    window = np.hanning(22050)
    resampled = acoustics.resample(window * np.sin(2 * np.pi * 1000 * times), 22050, RATE)
    assert len(resampled) == RATE
    expected = np.interp(np.arange(RATE) / RATE, times, window) * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    assert np.abs(resampled - expected).max() < 1e-3


def test_resampling_is_that_of_librosa(rng):
    speech = acoustics.coloured_noise(rng, 30000, 2.0) * np.hanning(30000)
    ours = acoustics.resample(speech, 22050, RATE)
    theirs = librosa.resample(speech, orig_sr=22050, target_sr=RATE, res_type="soxr_vhq")
    length = min(len(ours), len(theirs))
    error = ours[:length] - theirs[:length]
    assert np.mean(error**2) < 1e-3 * np.mean(ours**2)  # they differ in the last hundred Hz below 8 kHz


def test_convolution_is_numpy_s(rng):
    samples, response = rng.standard_normal(500), rng.standard_normal(77)
    assert acoustics.convolve(samples, response) == pytest.approx(np.convolve(samples, response)[:500], abs=1e-10)


@pytest.mark.parametrize(("t60", "ratio_db"), [(0.2, 0.0), (0.6, 9.0)])
def test_a_room_has_the_decay_and_the_ratio_asked_for(rng, t60, ratio_db):
    response = acoustics.room_response(rng, RATE, t60, ratio_db)
    assert response[0] == 1
    tail = response[1:]
    assert 10 * np.log10(1 / np.sum(tail**2)) == pytest.approx(ratio_db)
    # Schroeder's backward integration falls by 60 dB in T60: fit its slope from -5 to -25 dB.
    decay = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))
    inside = (decay < -5) & (decay > -25)
    slope = np.polyfit(np.nonzero(inside)[0] / RATE, decay[inside], 1)[0]
    assert -60 / slope == pytest.approx(t60, rel=0.15)


def test_a_microphone_stays_within_its_gain_and_begins_at_once(rng):
    response = acoustics.microphone_response(rng, RATE, 5.0)
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(response)))
    assert np.abs(gain_db).max() < 5.0 + 1e-6
    assert np.ptp(gain_db) > 1
    energy = np.cumsum(response**2) / np.sum(response**2)
    assert energy[8] > 0.9  # minimum phase: no delay of the phones


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_has_its_colour(rng, exponent):
    noise = acoustics.coloured_noise(rng, 1 << 16, exponent)
    assert np.mean(noise**2) == pytest.approx(1)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequencies = np.fft.rfftfreq(1 << 16, 1 / RATE)
    bands = [power[(frequencies >= low) & (frequencies < 2 * low)].mean() for low in (200, 400, 800, 1600, 3200)]
    slope = np.polyfit(np.arange(5), np.log2(bands), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.1)


def test_noise_comes_at_the_ratio_asked_for(rng):
    speech = np.concatenate([np.zeros(4000), rng.standard_normal(8000), np.zeros(4000)])
    active = slice(4000, 12000)
    noise = acoustics.babble(rng, [rng.standard_normal(3000), rng.standard_normal(900)], len(speech))
    noisy = acoustics.add_noise(speech, noise, 6.0, active)
    added = noisy - speech
    assert 10 * np.log10(np.mean(speech[active] ** 2) / np.mean(added**2)) == pytest.approx(6.0)


def test_levels_are_kept_without_clipping(rng):
    samples = rng.standard_normal(5000)
    assert 10 * np.log10(np.mean(acoustics.set_level(samples, -30) ** 2)) == pytest.approx(-30)
    assert np.abs(acoustics.set_level(samples, 3)).max() == pytest.approx(0.95)
    assert not acoustics.set_level(np.zeros(10), -20).any()
