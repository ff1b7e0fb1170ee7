import numpy as np
import pytest
import torch

from kd_asr.features.frames import log_mel
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.features.vocal_tract import WarpedWindows, warp_matrix, warped_frequency
from kd_asr.features.windows import FrameWindows

FEATURES = FeatureSettings()


def test_the_warp_is_linear_below_its_knee_and_keeps_both_ends() -> None:
    # By hand for 1.1 at 16 kHz: the knee is 4800 / 1.1 = 4363.6 Hz, from there to 8000 Hz the slope is
    # (8000 - 4800) / (8000 - 4363.6) = 0.88; at 6000 Hz: 8000 - 0.88 * 2000 = 6240.
    hertz = np.array([0.0, 1000.0, 4000.0, 6000.0, 8000.0])
    assert warped_frequency(hertz, 1.1, 8000.0) == pytest.approx([0.0, 1100.0, 4400.0, 6240.0, 8000.0])
    # And for 0.9: top 4320, knee 4800, slope (8000 - 4320) / (8000 - 4800) = 1.15.
    assert warped_frequency(hertz, 0.9, 8000.0) == pytest.approx([0.0, 900.0, 3600.0, 5700.0, 8000.0])


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("factor", [0.8, 0.9, 1.0, 1.1, 1.2])
def test_it_rises_and_stays_in_range(factor: float, rate: int) -> None:
    hertz = np.linspace(0.0, rate / 2, 1000)
    warped = warped_frequency(hertz, factor, rate / 2)
    assert (np.diff(warped) > 0).all()
    assert warped[0] == 0.0
    assert warped[-1] == pytest.approx(rate / 2)


def test_factor_one_changes_nothing() -> None:
    assert torch.equal(warp_matrix(1.0, FEATURES), torch.eye(FEATURES.num_mel_bins))


def test_every_output_is_an_interpolation() -> None:
    for factor in (0.85, 1.15):
        matrix = warp_matrix(factor, FEATURES)
        assert torch.allclose(matrix.sum(dim=0), torch.ones(FEATURES.num_mel_bins))
        assert (matrix >= 0).all()
        assert ((matrix > 0).sum(dim=0) <= 2).all()


@pytest.mark.parametrize("factor", [0.92, 1.08])
def test_a_warped_tone_is_where_a_tone_of_the_warped_frequency_is(factor: float) -> None:
    # Reading at factor * f, a peak at f0 is seen at f0 / factor.
    time = np.arange(FEATURES.sample_rate) / FEATURES.sample_rate

    def peak(frames: np.ndarray) -> float:
        energy = np.exp(frames.mean(axis=0))
        top = int(energy.argmax())
        near = slice(max(0, top - 2), top + 3)
        return float((np.arange(len(energy))[near] * energy[near]).sum() / energy[near].sum())

    for hertz in (500.0, 1500.0, 3000.0):
        heard = log_mel(np.sin(2 * np.pi * hertz * time).astype(np.float32), FEATURES)
        other = log_mel(np.sin(2 * np.pi * hertz / factor * time).astype(np.float32), FEATURES)
        assert peak(heard @ warp_matrix(factor, FEATURES).numpy()) == pytest.approx(peak(other), abs=0.6)


def test_each_part_of_a_batch_has_its_own_factor(tmp_path) -> None:
    rng = np.random.default_rng(0)
    create_store(tmp_path, ["a"], [50], FEATURES)
    FrameStore(tmp_path, writable=True).write("a", rng.standard_normal((50, 40)).astype(np.float32))
    windows = FrameWindows(FrameStore.open(tmp_path), ["a"], left_context=2, right_context=1)
    warped = WarpedWindows(windows, 0.1, FEATURES)
    examples = torch.tensor([7, 49, 0, 3, 11, 30, 22, 5, 40])
    plain, seen = windows[examples], warped[examples]
    assert len(warped) == 50
    for row in range(9):
        matrix = warp_matrix(0.9 + 0.025 * row, FEATURES)
        assert torch.allclose(seen[row].view(4, 40), plain[row].view(4, 40) @ matrix, atol=1e-5)
    assert torch.equal(seen[4], plain[4])
    assert warped[examples[:3]].shape == (3, 160)
