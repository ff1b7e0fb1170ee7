"""Means over transforms of the input, against loops over frames, bins and pixels."""

import numpy as np
import pytest
import torch

from kd_asr.device import Device
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.teachers.base import Lesson
from kd_asr.distillation.teachers.transforms import TransformsSettings, TransformsTeacher
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.transforms import image_transforms, speech_transforms
from kd_asr.features.vocal_tract import warp_matrix
from kd_asr.networks.base import seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.files import save_network
from kd_asr.networks.tdnn import TdnnSettings
from kd_asr.registry import named
from kd_asr.settings.fields import dump

FEATURES = FeatureSettings(num_mel_bins=10)
WINDOWS = named("network", "dnn", DnnSettings(left_context=1, right_context=1, hidden_layers=1, hidden_units=6))
CHUNKS = named("network", "tdnn", TdnnSettings(dilations=(1,), hidden_units=6, chunk_frames=4))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("average", ["arithmetic", "geometric"])
@pytest.mark.parametrize("kind", [(WINDOWS, (3, 10), (8, 30)), (CHUNKS, (10,), (2, 6, 10))], ids=["windows", "chunks"])
def test_posteriors_are_the_mean_over_networks_and_transforms(kind, average, tmp_path, device: Device) -> None:
    network, shape, inputs = kind
    models = [seeded(network, shape, 7, seed).eval() for seed in (1, 2)]
    paths = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for path, model in zip(paths, models, strict=True):
        save_network(path, model, dump(FEATURES))
    lesson = Lesson(paths, [], header=dump(FEATURES), average=average, precision="fp32")
    teacher = TransformsTeacher.open(lesson, TransformsSettings(warps=(0.9, 1.2), hidden_bands=3))
    teacher.put(device)
    batch = Batch(torch.arange(inputs[0]), drawn(*inputs), torch.zeros(8, dtype=torch.int64))
    found = device.put(teacher.answer(device.put(batch))).targets.dense_log_probs(1.0).exp().cpu()
    seen = []
    for factor in (1.0, 0.9, 1.2):
        frames = batch.inputs.reshape(-1, 10).double() @ warp_matrix(factor, FEATURES).double()
        seen.append(frames.float().view(inputs))
    for band in ([0, 1, 2, 3], [4, 5, 6], [7, 8, 9]):
        frames = batch.inputs.clone().reshape(-1, 10)
        frames[:, band] = 0
        seen.append(frames.view(inputs))
    with torch.no_grad():
        posteriors = torch.stack([model(one).softmax(1) for one in seen for model in models])
    mean = posteriors.mean(0) if average == "arithmetic" else posteriors.log().mean(0).softmax(1)
    assert torch.allclose(found, mean, atol=1e-5)


def test_images_are_moved_by_whole_pixels_and_padded() -> None:
    images = drawn(3, 25)
    same, right, left, down, up = image_transforms(25, shift_pixels=2)
    assert torch.equal(same(images), images)
    for transform, (x, y) in [(right, (2, 0)), (left, (-2, 0)), (down, (0, 2)), (up, (0, -2))]:
        expected = np.zeros((3, 5, 5), dtype=np.float32)
        for row in range(5):
            for column in range(5):
                if 0 <= row - y < 5 and 0 <= column - x < 5:
                    expected[:, row, column] = images.view(3, 5, 5)[:, row - y, column - x]
        assert np.array_equal(transform(images).view(3, 5, 5).numpy(), expected)
    assert len(image_transforms(25, shift_pixels=0)) == 1


def test_the_bands_that_are_hidden_are_all_bins_and_none_twice() -> None:
    _, *hidden = speech_transforms(dump(FEATURES), warps=(), hidden_bands=4)
    kept = torch.stack([one(torch.ones(1, 10))[0] for one in hidden])
    assert torch.equal((1 - kept).sum(0), torch.ones(10))
