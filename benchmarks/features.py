"""Log-mel frames of FLAC files: all that the stage does for a speaker, beside kaldi-native-fbank alone, on one core.

The stage reads, computes, checks, normalises by speaker and writes into the frame store; the peer reads and computes.
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import kaldi_native_fbank
import numpy as np
import soundfile

from benchmarks.training_step import seconds_of
from kd_asr.features.frames import frames_of_file, normalise, num_frames
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store

SUMMARY = "features from files against kaldi-native-fbank alone on the same files (wanted: 1.1 times its time or less)"
FILES, SECONDS, RATE = 20, 12, 16000


def _write_files(folder: Path) -> list[Path]:
    """Noise with the slow changes of speech, so that FLAC has something to compress."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(FILES):
        loudness = np.repeat(rng.uniform(0.001, 0.1, SECONDS * 10), RATE // 10)
        path = folder / f"{number}.flac"
        soundfile.write(path, loudness * rng.standard_normal(SECONDS * RATE), RATE, subtype="PCM_16")
        paths.append(path)
    return paths


def _stage(paths: list[Path], folder: Path, settings: FeatureSettings) -> None:
    counts = [num_frames(SECONDS * RATE, RATE, settings)] * len(paths)
    create_store(folder, [path.stem for path in paths], counts, settings)
    blocks = [frames_of_file(path, settings).frames for path in paths]
    store = FrameStore(folder, writable=True)
    for path, frames in zip(paths, normalise(blocks), strict=True):
        store.write(path.stem, frames)


def _peer(paths: list[Path], settings: FeatureSettings) -> None:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = settings.num_mel_bins
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32")
        bank = kaldi_native_fbank.OnlineFbank(options)
        bank.accept_waveform(rate, samples.tolist())  # faster than as an array
        bank.input_finished()
        np.stack([bank.get_frame(index) for index in range(bank.num_frames_ready)])


def measure(*, repeats: int) -> dict[str, Any]:
    """Median ratio of the times, and hours of speech an hour of one core gets through."""
    settings = FeatureSettings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = _write_files(folder)
        ours, theirs = [], []
        for repeat in range(repeats + 1):  # the first one warms up
            ours.append(seconds_of(partial(_stage, paths, folder / f"store-{repeat}", settings)))
            theirs.append(seconds_of(partial(_peer, paths, settings)))
    ratios = [one / other for one, other in zip(ours[1:], theirs[1:], strict=True)]
    return {
        "seconds_of_speech": FILES * SECONDS,
        "repeats": repeats,
        "time_over_kaldi_native_fbank": round(statistics.median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "times_real_time": round(FILES * SECONDS / statistics.median(ours[1:])),
    }
