"""Examples that lie on a device are gathered there, and are the same."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from kd_asr.device import HOST, Device, bytes_of, is_movable
from kd_asr.distillation.posterior_store import PosteriorStore, encode, finish_store, write_shard
from kd_asr.distillation.signal import top_k_targets
from kd_asr.distillation.teachers.live import LiveTeacher
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.features.chunks import FrameChunks
from kd_asr.features.images import Images
from kd_asr.features.inputs import Indexable
from kd_asr.features.masks import MaskedInputs
from kd_asr.features.settings import AugmentSettings, FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.features.vocal_tract import WarpedWindows, warp_matrix
from kd_asr.features.windows import FrameWindows
from kd_asr.networks.base import seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.registry import named
from kd_asr.training.examples import Examples, JoinedInputs

# Tensors there have no numbers, so that whoever looks at one, or mixes it with one of the host, fails.
FAR = Device("meta")
FEATURES = FeatureSettings(num_mel_bins=6)
COUNTS = {"u1": 40, "u2": 9, "u3": 25}
CLASSES, TOP_K = 60_000, 4


@pytest.fixture
def store(tmp_path) -> FrameStore:
    create_store(tmp_path / "frames", list(COUNTS), list(COUNTS.values()), FEATURES)
    store = FrameStore(tmp_path / "frames", writable=True)
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        store.write(name, rng.standard_normal((count, 6)).astype(np.float32))
    return FrameStore.open(tmp_path / "frames")


@pytest.fixture
def posteriors(tmp_path) -> PosteriorStore:
    """Of so many classes that their numbers need all bits of a uint16, in two shards."""
    folder, frames = tmp_path / "posteriors", sum(COUNTS.values())
    folder.mkdir()
    targets = top_k_targets(torch.randn(frames, CLASSES).log_softmax(dim=1), TOP_K)
    write_shard(folder, 0, encode(targets.select(slice(0, 50))))
    write_shard(folder, 1, encode(targets.select(slice(50, frames))))
    finish_store(
        folder, list(COUNTS), list(COUNTS.values()),
        shard_frames=[50, frames - 50], top_k=TOP_K, tail_prior=torch.ones(CLASSES), fingerprints={},
    )  # fmt: skip
    return PosteriorStore(folder)


def kinds(store: FrameStore) -> dict[str, Indexable]:
    """All inputs that networks learn from."""
    names = list(COUNTS)
    windows = FrameWindows(store, names, left_context=2, right_context=1)
    chunks = FrameChunks(store, names, length=4, left_context=3, right_context=2, stride=2)
    augment = AugmentSettings(frequency_mask=2, time_mask=2)
    joined = JoinedInputs(windows, JoinedInputs(FrameWindows(store, ["u2"], left_context=2, right_context=1), windows))
    found: dict[str, Indexable] = {"windows": windows, "chunks": chunks, "joined": joined}
    found["warped"] = WarpedWindows(chunks, 0.1, FEATURES)
    found["masked"] = MaskedInputs(found["warped"], augment, num_mel_bins=6)
    found["images"] = Images(torch.randint(0, 256, (30, 5, 4), dtype=torch.uint8), jitter_pixels=2)
    found["selected"] = Examples(joined, torch.zeros(len(joined))).select(torch.arange(5, 80)).inputs
    return found


@pytest.mark.parametrize(
    "kind", ["windows", "chunks", "joined", "warped", "masked", "images", "selected"]
)
def test_inputs_are_gathered_where_they_lie(kind, store, device: Device) -> None:
    """Without a look at a number; and those that nothing varies are the same there."""
    inputs = kinds(store)[kind]
    assert is_movable(inputs)
    numbers = torch.tensor([0, len(inputs) - 1, 7, 7])
    expected = inputs[numbers]
    far = FAR.put(inputs)[FAR.put(numbers)]
    assert (far.device, far.shape, far.dtype) == (FAR.torch_device, expected.shape, expected.dtype)
    near = HOST.put(device.put(inputs)[device.put(numbers)])
    if kind in ("windows", "chunks", "joined", "selected"):
        assert torch.equal(near, expected)
    assert near.shape == expected.shape
    assert torch.equal(inputs[numbers] if kind in ("windows", "chunks") else expected, expected)  # stays where it was


def test_of_two_sets_that_lie_on_a_device_the_right_one_is_taken(store) -> None:
    joined = kinds(store)["joined"]
    numbers = torch.randint(0, len(joined), (200,))
    assert isinstance(joined, JoinedInputs)
    assert torch.equal(joined._without_counting(numbers), joined[numbers])


def test_on_a_device_every_example_is_warped_by_a_factor_of_its_own(store) -> None:
    inputs = torch.randn(900, 4, 6)
    warped = WarpedWindows(inputs, 0.1, FEATURES)._each_warped(inputs)
    matrices = torch.stack([warp_matrix(float(factor), FEATURES) for factor in np.linspace(0.9, 1.1, 9)])
    apart = (torch.einsum("nfb,mbc->nmfc", inputs, matrices) - warped[:, None]).abs().amax(dim=(2, 3))
    nearest, which = apart.min(dim=1)
    assert float(nearest.max()) < 1e-5
    # 100 of each on average; a standard deviation is 9.4.
    counts = torch.bincount(which, minlength=9)
    assert int(counts.min()) > 55
    assert int(counts.max()) < 145


def test_posteriors_in_memory_are_those_of_the_store(posteriors, device: Device) -> None:
    teacher = StoredTeacher(posteriors, ["u3", "u1"])
    numbers = torch.tensor([64, 0, 25, 24, 3])
    expected = teacher.read(numbers).targets
    found = HOST.put(device.put(teacher).read(device.put(numbers)).targets)
    for name in ("classes", "log_probs", "log_tail_mass", "tail_prior"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert int(expected.classes.max()) > 32_767  # beyond an int16
    assert FAR.put(teacher).read(FAR.put(numbers)).targets.classes.device == FAR.torch_device


def test_examples_lie_on_a_device_with_labels_and_teacher(store, posteriors) -> None:
    chunks = kinds(store)["chunks"]
    assert isinstance(chunks, FrameChunks)
    labels = torch.zeros(chunks.frames.shape, dtype=torch.int32)
    examples = Examples(chunks, labels, StoredTeacher(posteriors, list(COUNTS)), chunks.frames)
    assert is_movable(examples)
    # The frames as float16, the labels of chunks, 4 k + 2 bytes a frame of posteriors, and indices.
    frames, targets = store.matrix.nbytes, sum(COUNTS.values()) * (4 * TOP_K + 2)
    assert frames + targets + 4 * labels.numel() < bytes_of(examples) < 2 * (frames + targets) + 4 * CLASSES + 40_000
    batch = FAR.put(examples).batch(FAR.put(torch.tensor([3, 1])))
    assert batch.signal.targets is not None
    for tensor in (batch.inputs, batch.hard_labels, batch.signal.targets.classes):
        assert tensor.device == FAR.torch_device
    assert batch.hard_labels.shape == (8,)
    assert batch.signal.targets.classes.shape == (8, TOP_K)


def test_what_cannot_be_placed_is_known() -> None:
    class Unknown:
        """Inputs of a user."""

        def __len__(self) -> int:
            return 3

        def __getitem__(self, examples: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(examples), 2)

    @dataclass(frozen=True)
    class Holder:
        inputs: object

    assert is_movable(Holder(torch.zeros(2)))
    assert not is_movable(Holder(Unknown()))
    assert not is_movable(Examples(Unknown(), torch.zeros(3)))
    assert not HOST.can_hold(torch.zeros(2))  # what is on the host is gathered there as ever
    network = seeded(named("network", "dnn", DnnSettings(1, 1, hidden_units=4)), (3, 6), 5, seed=1)
    assert is_movable(Examples(torch.zeros(3, 18), torch.zeros(3), LiveTeacher([network])))
