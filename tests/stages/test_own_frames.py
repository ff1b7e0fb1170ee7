"""Long files in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from kd_asr.features.frames import frames_of_file, normalise
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore
from kd_asr.stages.own_frames import cuts, store_frames

SETTINGS = FeatureSettings()


def test_pieces_end_where_it_is_quietest() -> None:
    frames = np.full((1000, 4), 10.0, dtype=np.float32)
    for pause in (180, 390, 700):
        frames[pause - 15 : pause + 16] = 2.0
    ends = cuts(frames, 250)
    assert [abs(end - pause) < 8 for end, pause in zip(ends[:2], (180, 390), strict=True)] == [True, True]
    lengths = np.diff([0, *ends])
    assert ends[-1] == 1000 and lengths.max() <= 250 and lengths[:-1].min() >= 125
    assert cuts(frames[:250], 250) == [250]


def test_pieces_together_are_the_frames_of_the_file_and_the_others_are_told(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(5 * 16000)
    soundfile.write(tmp_path / "long.wav", noise, 16000)
    soundfile.write(tmp_path / "short.wav", noise[:200], 16000)
    soundfile.write(tmp_path / "silent.wav", np.full(16000, 0.25), 16000)
    names = ("short.wav", "long.wav", "silent.wav", "none.wav")
    files = [tmp_path / name for name in names]
    audio, failed = store_frames(files, tmp_path / "store", SETTINGS, usual=None, one_speaker=False, piece_seconds=2)
    assert [(item.file.name, item.reason) for item in failed] == [
        ("short.wav", "shorter than one frame"),
        ("silent.wav", "nothing but digital silence"),
        ("none.wav", "unreadable audio: No such file or directory"),
    ]
    (item,) = audio
    store = FrameStore.open(tmp_path / "store")
    stored = np.concatenate([store.frames(piece.name) for piece in item.pieces])
    (expected,) = normalise([frames_of_file(files[1], SETTINGS).frames])
    np.testing.assert_allclose(stored, expected, atol=2e-3)
    assert item.seconds == 5 and len(item.pieces) >= 3
