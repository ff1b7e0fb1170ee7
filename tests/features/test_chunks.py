import numpy as np
import pytest
import torch

from kd_asr.errors import UserError
from kd_asr.features.chunks import FrameChunks, whole_utterance
from kd_asr.features.inputs import all_rows, joined_rows
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import MARGIN, FrameStore, create_store

SETTINGS = FeatureSettings(num_mel_bins=10)
COUNTS = {"long": 11, "exact": 8, "short": 2, "one": 1}


@pytest.fixture
def frames(tmp_path):
    rng = np.random.default_rng(0)
    made = {name: rng.standard_normal((count, 10)).astype(np.float16) for name, count in COUNTS.items()}
    create_store(tmp_path, list(made), list(COUNTS.values()), SETTINGS)
    store = FrameStore(tmp_path, writable=True)
    for name, block in made.items():
        store.write(name, block)
    return made


def padded(block: np.ndarray, left: int, right: int) -> np.ndarray:
    return np.concatenate([block[:1]] * left + [block] + [block[-1:]] * right).astype(np.float32)


def test_chunks_by_hand(tmp_path, frames) -> None:
    names = ["long", "exact", "short", "one"]
    chunks = FrameChunks(FrameStore.open(tmp_path), names, length=4, left_context=2, right_context=1)
    # Frames are numbered through: long 0..10, exact 11..18, short 19..20, one 21.
    expected = [
        ([0, 1, 2, 3], "1111"),
        ([4, 5, 6, 7], "1111"),
        ([7, 8, 9, 10], "0111"),  # moved back to end with the utterance
        ([11, 12, 13, 14], "1111"),
        ([15, 16, 17, 18], "1111"),
        ([19, 20, 20, 20], "1100"),  # filled up
        ([21, 21, 21, 21], "1000"),
    ]
    assert all_rows(chunks.frames).tolist() == [numbers for numbers, _ in expected]
    assert ["".join(str(int(one)) for one in row) for row in all_rows(chunks.counted)] == [row for _, row in expected]
    assert len(chunks) == 7
    starts = [("long", 0), ("long", 4), ("long", 7), ("exact", 0), ("exact", 4), ("short", 0), ("one", 0)]
    order = torch.tensor([6, 2, 0, 5, 4])
    for number, inputs in zip(order.tolist(), chunks[order], strict=True):
        name, first = starts[number]
        assert np.array_equal(inputs.numpy(), padded(frames[name], 2, 10)[first : first + 7])


def test_chunks_with_a_stride_by_hand(tmp_path, frames) -> None:
    names = ["long", "exact", "short", "one"]
    chunks = FrameChunks(FrameStore.open(tmp_path), names, length=3, left_context=2, right_context=1, stride=2)
    expected = [
        ([0, 2, 4], "111"),
        ([1, 3, 5], "111"),
        ([5, 7, 9], "011"),  # the stretch from 5 to 10: 5 was covered by the one before
        ([6, 8, 10], "111"),
        ([11, 13, 15], "111"),
        ([12, 14, 16], "111"),
        ([13, 15, 17], "001"),
        ([14, 16, 18], "001"),
        ([19, 20, 20], "100"),
        ([20, 20, 20], "100"),
        ([21, 21, 21], "100"),
        ([21, 21, 21], "000"),
    ]
    assert all_rows(chunks.frames).tolist() == [numbers for numbers, _ in expected]
    assert ["".join(str(int(one)) for one in row) for row in all_rows(chunks.counted)] == [row for _, row in expected]
    starts = {2: ("long", 5), 7: ("exact", 3), 9: ("short", 1), 11: ("one", 1)}
    for inputs, (name, first) in zip(chunks[torch.tensor(list(starts))], starts.values(), strict=True):
        assert np.array_equal(inputs.numpy(), padded(frames[name], 2, 12)[first : first + 8])


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("length", [1, 3, 5, 40, 100])
def test_every_frame_counts_once(tmp_path, frames, length: int, stride: int) -> None:
    store = FrameStore.open(tmp_path)
    chunks = FrameChunks(store, list(COUNTS), length=length, left_context=0, right_context=0, stride=stride)
    assert sorted(all_rows(chunks.frames)[all_rows(chunks.counted)].tolist()) == list(range(sum(COUNTS.values())))
    # A frame far beyond the utterance's end is its last one, not the next utterance.
    assert np.array_equal(chunks[torch.tensor([len(chunks) - 1])][0, -1].numpy(), frames["one"][0].astype(np.float32))


def test_a_whole_utterance(tmp_path, frames) -> None:
    inputs = whole_utterance(FrameStore.open(tmp_path), "exact", left_context=3, right_context=5)
    assert np.array_equal(inputs[0].numpy(), padded(frames["exact"], 3, 5))


def test_context_wider_than_the_margin_is_refused(tmp_path, frames) -> None:
    store = FrameStore.open(tmp_path)
    with pytest.raises(UserError, match=r"more than the margin of 32 .*narrower"):
        FrameChunks(store, ["long"], length=4, left_context=MARGIN + 1, right_context=0)
    with pytest.raises(UserError, match="margin of 32"):
        whole_utterance(store, "long", left_context=0, right_context=MARGIN + 1)


def test_rows_of_parts_are_those_of_their_concatenation() -> None:
    parts = [torch.arange(6).view(3, 2), torch.zeros(0, 2).long(), 10 + torch.arange(4).view(2, 2)]
    whole = torch.cat([parts[0], parts[1] + 5, parts[2] - 1])
    rows = joined_rows(parts, [0, 5, -1])
    assert (len(rows), tuple(rows.shape)) == (5, (5, 2))
    asked = torch.tensor([4, 0, 3, 3, 2, 1])
    assert torch.equal(rows[asked], whole[asked])
    assert torch.equal(joined_rows(parts)[asked], torch.cat(parts)[asked])
    assert joined_rows(parts[:1]) is parts[0]
    assert joined_rows([parts[1], parts[1]])[torch.arange(0)].shape == (0, 2)
