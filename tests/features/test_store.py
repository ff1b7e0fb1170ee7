import numpy as np
import pytest
import torch

from kd_asr.errors import UserError
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import MARGIN, FrameStore, create_store
from kd_asr.features.windows import FrameWindows

SETTINGS = FeatureSettings(num_mel_bins=10)


@pytest.fixture
def content(tmp_path):
    rng = np.random.default_rng(0)
    counts = {"a": 5, "b": 1, "c": 9}
    frames = {name: rng.standard_normal((count, 10)).astype(np.float16) for name, count in counts.items()}
    create_store(tmp_path / "set", list(frames), [len(block) for block in frames.values()], SETTINGS)
    store = FrameStore(tmp_path / "set", writable=True)
    for name in ("c", "a", "b"):  # any order
        store.write(name, frames[name])
    return tmp_path / "set", frames


def test_frames_come_back(content) -> None:
    folder, frames = content
    store = FrameStore.open(folder)
    assert store.utterance_ids == ["a", "b", "c"]
    for name, block in frames.items():
        assert np.array_equal(store.frames(name), block.astype(np.float32))
        assert store.num_frames(name) == len(block)
        rows = store.rows(name)
        assert np.array_equal(store.matrix[rows.start : rows.stop], block)


def test_windows_are_the_spliced_frames_with_repeated_edges(content) -> None:
    folder, frames = content
    left, right = 7, 3
    windows = FrameWindows(FrameStore.open(folder), ["c", "a"], left_context=left, right_context=right)
    expected = []
    for name in ("c", "a"):
        padded = np.concatenate([frames[name][:1]] * left + [frames[name]] + [frames[name][-1:]] * right)
        expected += [padded[t : t + left + 1 + right].reshape(-1) for t in range(len(frames[name]))]
    assert len(windows) == 14
    order = torch.tensor([13, 0, 8, 9, 4])
    assert np.array_equal(windows[order].numpy(), np.array(expected, np.float32)[order.numpy()])


def test_context_wider_than_the_margin_is_refused(content) -> None:
    with pytest.raises(UserError, match="margin of 32"):
        FrameWindows(FrameStore.open(content[0]), ["a"], left_context=MARGIN + 1, right_context=0)


def test_a_matrix_cut_short_is_refused(content) -> None:
    path = content[0] / "frames.f16"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"frames\.f16 has \d+ bytes instead of \d+"):
        FrameStore.open(content[0])


def test_reading_never_writes_to_disk(content) -> None:
    before = (content[0] / "frames.f16").read_bytes()
    store = FrameStore.open(content[0])
    store.matrix[:] = 0
    assert (content[0] / "frames.f16").read_bytes() == before
