"""What networks are shown, against frames copied by hand."""

import numpy as np
import pytest
import torch

from kd_asr.features.inputs import all_rows
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.networks.views import Chunks, Seen, Windows, labelled_frames

LENGTHS = {"a": 13, "b": 4, "c": 29}


@pytest.fixture
def store(tmp_path) -> FrameStore:
    create_store(tmp_path, list(LENGTHS), list(LENGTHS.values()), FeatureSettings())
    made = FrameStore(tmp_path, writable=True)
    rng = np.random.default_rng(1)
    for name, count in LENGTHS.items():
        made.write(name, rng.standard_normal((count, made.num_mel_bins)).astype(np.float16))
    return FrameStore.open(tmp_path)


def around(store: FrameStore, name: str, left: int, right: int) -> torch.Tensor:
    """(frames, left + 1 + right, bins): the frames around each, the first and last one repeated."""
    frames = store.frames(name)
    rows = np.arange(len(frames))[:, None] + np.arange(-left, right + 1)
    return torch.from_numpy(frames[rows.clip(0, len(frames) - 1)])


def test_windows(store: FrameStore) -> None:
    view = Windows(3, 2)
    every = torch.cat([around(store, name, 3, 2).flatten(1) for name in LENGTHS])
    for evaluation in (False, True):
        seen = view.examples(store, list(LENGTHS), evaluation=evaluation)
        assert seen.frames is None
        assert torch.equal(seen.inputs[torch.arange(len(every))], every)
    (batch,) = view.utterances(store, list(LENGTHS))
    assert torch.equal(batch, every)
    some, count = view.speaker(store, list(LENGTHS), most_frames=20)
    assert count == 20
    assert torch.equal(some, every[:20])
    assert (view.input_shape(40), view.labels_per_example, view.context) == ((6, 40), 1, (3, 2))


@pytest.mark.parametrize("evaluation", [False, True])
def test_chunks_show_every_frame_once(store: FrameStore, evaluation: bool) -> None:
    view = Chunks(chunk_frames=4, frame_stride=2, left_context=3, right_context=1)
    step = 1 if evaluation else 2
    seen = view.examples(store, list(LENGTHS), evaluation=evaluation)
    assert seen.frames is not None and seen.counted is not None
    assert all_rows(seen.frames)[all_rows(seen.counted)].sort().values.tolist() == list(range(sum(LENGTHS.values())))
    every = torch.cat([around(store, name, 3, 1) for name in LENGTHS])
    shown = seen.inputs[torch.arange(len(seen.frames))]
    for inputs, frames, counted in zip(shown, all_rows(seen.frames), all_rows(seen.counted), strict=True):
        for place, frame in enumerate(frames.tolist()):
            if counted[place]:
                assert torch.equal(inputs[place * step : place * step + 5], every[frame])
    part = torch.arange(13, 17)  # utterance b
    assert {int(frame) for frame in seen.frames[seen.within(part)].flatten()} == set(part.tolist())


def test_whole_utterances_and_speakers_as_stretches(store: FrameStore) -> None:
    view = Chunks(chunk_frames=4, frame_stride=2, left_context=3, right_context=1)
    for name, batch in zip(LENGTHS, view.utterances(store, list(LENGTHS)), strict=True):
        assert torch.equal(batch[0].unfold(0, 5, 1).transpose(1, 2), around(store, name, 3, 1))
    joined = torch.from_numpy(np.concatenate([store.frames(name) for name in LENGTHS]))
    batch, count = view.speaker(store, list(LENGTHS), most_frames=20)
    assert count == 20
    assert torch.equal(batch[0], joined[:24])
    assert view.speaker(store, ["b"], most_frames=20)[1] == 0
    assert (view.input_shape(40), view.labels_per_example, view.context) == ((40,), 4, (3, 1))


def test_labels_of_several_sets_are_numbered_on() -> None:
    inputs = torch.zeros(2, 1)
    first = Seen(inputs, torch.tensor([[0, 1], [1, 2]]), torch.tensor([[True, True], [False, True]]))
    second = Seen(inputs, torch.tensor([[0, 1], [2, 3]]))
    labelled = labelled_frames([first, second], [3, 4])
    assert labelled is not None
    assert all_rows(labelled[0]).tolist() == [[0, 1], [1, 2], [3, 4], [5, 6]]
    assert all_rows(labelled[1]).tolist() == [[True, True], [False, True], [True, True], [True, True]]
    assert labelled_frames([Seen(inputs)], [2]) is None
