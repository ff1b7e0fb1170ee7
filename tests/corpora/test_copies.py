"""The same recording in another file is found, and other recordings are not taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from kd_asr.corpora.base import ListedUtterance, Listing
from kd_asr.corpora.copies import KnownRecordings, Listener
from kd_asr.corpora.scan import scan, without_copies
from kd_asr.corpora.sound import measure, open_sound

RATE = 16000


def speechlike(seed: int, seconds: float = 2.0) -> NDArray[np.float64]:
    """Syllables: noise of other bands and levels every tenth of a second or two, with pauses at both ends."""
    rng = np.random.default_rng(seed)
    parts: list[NDArray[np.float64]] = [np.zeros(800)]
    while sum(map(len, parts)) < seconds * RATE - 2400:
        noise = np.fft.rfft(rng.standard_normal(int(RATE * rng.uniform(0.05, 0.2))))
        centre = rng.uniform(200, 3500)
        hertz = np.linspace(0, RATE / 2, len(noise))
        shaped = np.fft.irfft(noise / (1 + np.square((hertz - centre) / 300)))
        parts.append(0.3 * 10 ** rng.uniform(-1.5, 0) * shaped / np.abs(shaped).max())
    samples = np.concatenate(parts)[: int(seconds * RATE) - 800]
    return np.concatenate([samples, np.zeros(800)]) + 1e-4 * rng.standard_normal(len(samples) + 800)


WAYS = {
    "louder.wav": lambda y: (RATE, 2 * y),
    "coded-1.mp3": lambda y: (RATE, y),
    "coded-2.ogg": lambda y: (RATE, y),
    "telephone.wav": lambda y: (8000, soxr.resample(y, RATE, 8000)),
    "faster.flac": lambda y: (44100, soxr.resample(y, RATE, 44100)),
    "later.flac": lambda y: (RATE, np.concatenate([np.zeros(850), y])),
    "with-silence.flac": lambda y: (RATE, np.concatenate([np.zeros(4800), y, np.zeros(8000)])),
    "shorter.flac": lambda y: (RATE, y[880:]),
    "noisy.flac": lambda y: (RATE, y + 0.1 * y.std() * np.random.default_rng(9).standard_normal(len(y))),
    "clipped.flac": lambda y: (RATE, np.clip(6 * y, -1, 1)),
    "one-of-two.flac": lambda y: (RATE, np.stack([y, y], axis=1)),
}


def listing(name: str, paths: list[Path]) -> Listing:
    return Listing(name, [ListedUtterance(f"{name}-{path.stem}", name, str(path), "ONE") for path in paths])


def test_recordings_of_test_that_were_encoded_anew_are_left_out_of_train(tmp_path: Path) -> None:
    """And no others: neither of the same length, nor the same syllables in another order."""
    speech, train = speechlike(1), []
    for way, change in WAYS.items():
        rate, other = change(speech)
        train.append(tmp_path / way)
        soundfile.write(train[-1], other, rate, **({"subtype": "ULAW"} if way == "telephone.wav" else {}))
    others = {"other": speechlike(2), "turned": np.concatenate([speech[16000:], speech[:16000]])}
    for name, samples in {**others, "dev": speechlike(3), "test": speech}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    listed = [
        listing("train", [*train, *(tmp_path / f"{name}.wav" for name in others)]),
        *(listing(name, [tmp_path / f"{name}.wav"]) for name in ("dev", "test")),
    ]
    found = without_copies(dict(zip(("train", "dev", "test"), scan(listed, jobs=1), strict=True)))
    assert [item.utterance_id for item in found["train"].utterances] == ["train-other", "train-turned"]
    reason = "the same audio as 'test-test' of test, encoded in another way"
    assert {one.reason for one in found["train"].rejected} == {reason}
    assert len(found["train"].rejected) == len(WAYS) and not found["dev"].rejected


def test_different_utterances_of_a_length_are_far_apart(tmp_path: Path) -> None:
    prints = []
    for seed in range(40):
        listener = Listener()
        listener.accept(speechlike(seed).astype(np.float32), RATE)
        prints.append(listener.sound_print())
    shapes = np.stack([np.frombuffer(one.shapes[0], np.int8).astype(float) for one in prints])
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True)
    assert (shapes @ shapes.T - np.eye(40)).max() < 0.7
    assert KnownRecordings([]).find(None, prints[0]) is None  # type: ignore[arg-type]


def test_a_listener_hears_the_same_in_blocks_of_any_size(tmp_path: Path) -> None:
    speech = speechlike(3).astype(np.float32)
    whole, parts = Listener(), Listener()
    whole.accept(speech, RATE)
    for block in np.split(speech, [1, 7, 500, 9000, 9001]):
        parts.accept(block, RATE)
    np.testing.assert_allclose(parts.energies, whole.energies, rtol=1e-5)
    soundfile.write(tmp_path / "a.wav", speech, RATE, subtype="FLOAT")
    read = Listener()
    with open_sound(tmp_path / "a.wav") as file:
        measure(file, listener=read.accept)
    np.testing.assert_array_equal(read.energies, whole.energies)
