from dataclasses import replace

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from kd_asr.features import torch_filterbank
from kd_asr.features.frames import (
    counted,
    frames_of_file,
    is_live,
    log_mel,
    log_mel_of_blocks,
    normalise,
    num_frames,
    read_audio,
)
from kd_asr.features.settings import FeatureSettings

SETTINGS = FeatureSettings()


def plain_log_mel(samples: np.ndarray) -> np.ndarray:
    """Kaldi's log-mel filterbank written out: framing, DC removal, pre-emphasis, Povey window, 512-point FFT, mel."""
    window, shift, size = 400, 160, 512
    signal = samples.astype(np.float64) * 32768
    povey = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / (window - 1))) ** 0.85
    mel = lambda hertz: 1127.0 * np.log(1 + hertz / 700.0)  # noqa: E731
    edges = np.linspace(mel(20.0), mel(8000.0), 42)
    bins = mel(np.arange(size // 2) * 16000 / size)
    rising = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    frames = []
    for start in range(0, len(signal) - window + 1, shift):
        frame = signal[start : start + window]
        frame = frame - frame.mean()
        frame = np.concatenate([[frame[0] * (1 - 0.97)], frame[1:] - 0.97 * frame[:-1]]) * povey
        power = np.abs(np.fft.rfft(frame, size)[:-1]) ** 2
        frames.append(np.log(np.maximum(filters @ power, np.finfo(np.float32).eps)))
    return np.array(frames)


def test_log_mel_equals_the_formula() -> None:
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(8000)).astype(np.float32)
    assert np.abs(log_mel(samples, SETTINGS) - plain_log_mel(samples)).max() < 2e-3


@pytest.mark.parametrize("rate, bins, samples", [(16000, 40, 48000), (8000, 23, 399), (8000, 23, 200), (16000, 80, 0)])
def test_the_filterbank_of_torch_gives_the_same_frames(device, rate: int, bins: int, samples: int, monkeypatch) -> None:
    settings = FeatureSettings(sample_rate=rate, num_mel_bins=bins)
    rng = np.random.default_rng(0)
    signal = np.concatenate([np.zeros(samples // 3), 0.1 * rng.standard_normal(samples - samples // 3)])
    monkeypatch.setattr(torch_filterbank, "_FRAMES", 100)  # so that there are several pieces
    found = log_mel_of_blocks([signal.astype(np.float32)], replace(settings, filterbank="torch"), device)
    expected = log_mel(signal.astype(np.float32), settings)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.abs(found - expected).max(initial=0.0) < 1e-3


@given(st.integers(0, 20000))
def test_number_of_frames_is_what_the_filterbank_gives(num_samples: int) -> None:
    expected = max(0, 1 + (num_samples - 400) // 160) if num_samples >= 400 else 0
    assert num_frames(num_samples, 16000, SETTINGS) == expected
    assert len(log_mel(np.zeros(num_samples, np.float32), SETTINGS)) == expected


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampled_files_have_the_announced_frames_and_keep_their_tone(tmp_path, rate: int) -> None:
    time = np.arange(int(0.731 * rate)) / rate
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 1000 * time), rate)
    samples = read_audio(tmp_path / "tone.wav", 16000)
    assert len(log_mel(samples, SETTINGS)) == num_frames(len(time), rate, SETTINGS)
    middle = samples[2000:10000]
    loudest = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))).argmax() * 16000 / len(middle)
    assert abs(loudest - 1000) < 4


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.01, 0.731, 2.0])
def test_resampling_has_the_bits_of_librosa(tmp_path, rate: int, seconds: float) -> None:
    samples = (0.1 * np.random.default_rng(rate).standard_normal(int(seconds * rate))).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", samples, rate, subtype="FLOAT")
    expected = librosa.resample(samples, orig_sr=rate, target_sr=16000)
    assert np.array_equal(read_audio(tmp_path / "noise.wav", 16000), expected)


def test_stereo_is_averaged(tmp_path) -> None:
    left, right = np.full(1000, 0.5), np.full(1000, -0.25)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    assert np.allclose(read_audio(tmp_path / "stereo.wav", 16000), 0.125)


def test_normalised_blocks_have_mean_0_and_variance_1_together_but_not_alone() -> None:
    rng = np.random.default_rng(1)
    blocks = [rng.normal(3, 2, (50, 4)).astype(np.float32), rng.normal(-1, 5, (70, 4)).astype(np.float32)]
    blocks[0][:, 3] = blocks[1][:, 3] = 7.0  # never varies
    together = np.concatenate(normalise(blocks))
    assert np.allclose(together.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(together.std(axis=0), [1, 1, 1, 0], atol=1e-5)
    assert abs(normalise(blocks)[0].mean()) > 0.1


def test_blocks_of_samples_give_the_frames_of_the_whole() -> None:
    samples = (0.1 * np.random.default_rng(2).standard_normal(40_000)).astype(np.float32)
    blocks = np.split(samples, [1, 300, 301, 20_000, 20_399])
    assert np.array_equal(log_mel_of_blocks(blocks, SETTINGS), log_mel(samples, SETTINGS))


def test_a_file_tells_its_frames_length_and_channels(tmp_path) -> None:
    samples = (0.1 * np.random.default_rng(3).standard_normal((30_000, 2))).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    found = frames_of_file(tmp_path / "a.wav", SETTINGS)
    assert (found.seconds, found.channels) == (30_000 / 8000, 2)
    assert np.array_equal(found.frames, log_mel(read_audio(tmp_path / "a.wav", 16000), SETTINGS))
    second = frames_of_file(tmp_path / "a.wav", SETTINGS, channel=2)
    soundfile.write(tmp_path / "b.wav", samples[:, 1], 8000, subtype="FLOAT")
    assert np.array_equal(second.frames, frames_of_file(tmp_path / "b.wav", SETTINGS).frames)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_part_of_a_file_has_the_frames_of_its_samples_alone(tmp_path, rate: int) -> None:
    samples = (0.1 * np.random.default_rng(5).standard_normal(rate)).astype(np.float32)
    soundfile.write(tmp_path / "whole.wav", samples, rate, subtype="FLOAT")
    soundfile.write(tmp_path / "part.wav", samples[3000:12000], rate, subtype="FLOAT")
    found = frames_of_file(tmp_path / "whole.wav", SETTINGS, first_sample=3000, num_samples=9000)
    assert found.seconds == 9000 / rate
    assert np.array_equal(found.frames, frames_of_file(tmp_path / "part.wav", SETTINGS).frames)
    rest = read_audio(tmp_path / "whole.wav", rate, first_sample=3000)
    assert np.array_equal(rest, samples[3000:])


@pytest.mark.parametrize("level", [0.0, 0.3, -0.123456])
def test_digital_silence_takes_no_part_in_the_statistics(level: float) -> None:
    samples = (0.1 * np.random.default_rng(4).standard_normal(48_000)).astype(np.float32)
    spoken = log_mel(samples, SETTINGS)
    silent = log_mel(np.full(16_000, level, dtype=np.float32), SETTINGS)
    assert is_live(spoken).all() and not is_live(silent).any()
    alone, quiet = normalise([spoken, np.concatenate([silent, spoken[:10], silent])])
    (expected,) = normalise([np.concatenate([spoken, spoken[:10]])])
    assert np.array_equal(alone, expected[: len(spoken)])
    assert np.array_equal(quiet[len(silent) : len(silent) + 10], expected[-10:])
    np.testing.assert_allclose(quiet[0], expected.min(axis=0), atol=1e-6)
    # Nothing but silence: nothing to normalise by, and no warning.
    assert np.isfinite(normalise([silent])[0]).all()


def speechlike(seconds: float) -> np.ndarray:
    """Noise that is loud and quiet in turns, as syllables and pauses are, above a floor."""
    rng = np.random.default_rng(5)
    time = np.arange(int(seconds * 16000)) / 16000
    return 0.2 * np.exp(-3 * (1 + np.sin(2 * np.pi * 3 * time))) * rng.standard_normal(len(time))


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg"])
@pytest.mark.parametrize("seconds", [0.1, 0.5])
def test_what_fades_into_digital_silence_takes_no_part_either(tmp_path, suffix: str, seconds: float) -> None:
    """Speech with silence behind it is normalised as without it, whatever the codec makes of the edge."""
    speech = speechlike(4.0)
    soundfile.write(tmp_path / f"a.{suffix}", speech, 16000)
    soundfile.write(tmp_path / f"b.{suffix}", np.concatenate([speech, np.zeros(int(16000 * seconds))]), 16000)
    alone, followed = (frames_of_file(tmp_path / f"{name}.{suffix}", SETTINGS).frames for name in "ab")
    assert not is_live(followed).all()
    expected, found = normalise([alone])[0][:380], normalise([followed])[0][:380]
    assert found.std() == pytest.approx(expected.std(), rel=0.01)
    assert np.abs(found - expected).mean() < 0.02
    # Without silence nothing is left out.
    assert np.array_equal(counted([alone])[0], np.ones(len(alone), bool))


def test_frames_below_the_energy_floor_are_digital_silence() -> None:
    """Silence with dither of one step, which is sound but where it is asked for."""
    dither = np.random.default_rng(6).integers(-1, 2, 16_000) / 32768
    samples = np.concatenate([speechlike(4.0), dither]).astype(np.float32)
    expected = normalise([log_mel(samples[:-16_000], SETTINGS)])[0]
    (as_sound,) = normalise([log_mel(samples, SETTINGS)])
    assert as_sound[: len(expected)].std() < 0.9 * expected.std()
    (as_silence,) = normalise([log_mel(samples, replace(SETTINGS, energy_floor=20_000.0))])
    assert as_silence[: len(expected)].std() == pytest.approx(expected.std(), rel=0.02)


def test_the_energy_floor_is_written_down_where_there_is_one() -> None:
    """Frames and networks of other versions, which had none, go with those of today."""
    assert "energy_floor" not in SETTINGS.described()
    assert replace(SETTINGS, energy_floor=1.0).described()["energy_floor"] == 1.0
    assert FeatureSettings(**SETTINGS.described()) == SETTINGS  # type: ignore[arg-type]


def test_times_come_from_whole_samples() -> None:
    assert FeatureSettings().frame_shift == 0.01
    shift = FeatureSettings(sample_rate=22050).frame_shift
    assert shift == 220 / 22050
    frames = log_mel(np.zeros(43 * 22050, dtype=np.float32), FeatureSettings(sample_rate=22050))
    assert 43 - 0.04 < (len(frames) - 1) * shift + 0.025 <= 43
