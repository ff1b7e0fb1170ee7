"""Multiply-adds of small networks, counted by hand."""

from dataclasses import replace

import pytest

from kd_asr.features.settings import FeatureSettings
from kd_asr.networks.base import Network, seeded, view_of
from kd_asr.networks.cnn import CnnSettings
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.operations import on_frames, on_images
from kd_asr.networks.tdnn import TdnnSettings
from kd_asr.registry import Named, named

FEATURES = FeatureSettings()
BINS, CLASSES, UNITS = FEATURES.num_mel_bins, 11, 7


def network_of(asked: Named) -> Network:
    return seeded(asked, view_of(asked).input_shape(BINS), CLASSES, seed=0)


DNN = named("network", "dnn", DnnSettings(left_context=2, right_context=1, hidden_layers=2, hidden_units=UNITS))


def test_dnn() -> None:
    first, second, output = 4 * BINS * UNITS, UNITS * UNITS, UNITS * CLASSES
    counted = on_frames(DNN, network_of(DNN), FEATURES)
    assert counted.inference == first + second + output
    # Forward, and gradients of weights and inputs; the network's inputs need none.
    assert counted.training == 2 * first + 3 * second + 3 * output


def test_dnn_that_is_trained_in_principal_components() -> None:
    # The map to the components is not trained, and the saved network has none.
    asked = replace(DNN, settings=replace(DNN.settings, principal_components=20))
    counted = on_frames(asked, network_of(DNN), FEATURES)
    assert counted.training == 4 * BINS * 20 + 2 * 20 * UNITS + 3 * UNITS * UNITS + 3 * UNITS * CLASSES
    assert counted.inference == on_frames(DNN, network_of(DNN), FEATURES).inference


@pytest.mark.parametrize("stride", [1, 3])
def test_tdnn_computes_frames_around_a_stretch_as_well(stride: int) -> None:
    settings = TdnnSettings(dilations=(1, 3), hidden_units=UNITS, chunk_frames=10, frame_stride=stride)
    asked = named("network", "tdnn", settings)
    first, second, output = 3 * BINS * UNITS, 3 * UNITS * UNITS, UNITS * CLASSES
    counted = on_frames(asked, network_of(asked), FEATURES)
    assert counted.inference == first + second + output
    # Ten labels: the second layer sees three frames 3 apart. Without a stride these are 16, with it 12 of every third.
    below = 10 + 2 * 3 if stride == 1 else 10 + 2
    assert counted.training == pytest.approx((2 * below * first + 3 * 10 * second + 3 * 10 * output) / 10)


def test_convolutions_and_images() -> None:
    settings = CnnSettings(left_context=0, right_context=0, channels=2, hidden_layers=0, pooled_bins=2)
    asked = named("network", "cnn", settings)
    saved = seeded(asked, (8, 8), CLASSES, seed=0)
    # 3 x 3 kernels on 8 x 8 pixels of 1 channel, then on 8 x 4 of 2; pooled to 8 x 2 of 4.
    first, second, output = 64 * 9 * 2, 32 * 9 * 2 * 4, 64 * CLASSES
    counted = on_images(asked, saved)
    assert counted.inference == first + second + output
    assert counted.training == 2 * first + 3 * second + 3 * output
