"""Samples from a pipe, frames as they come, and ends of utterances."""

import builtins
import io
import math
import struct

import numpy as np
import pytest
import soundfile

from kd_asr.alignment.topology import Topology
from kd_asr.decoding.online import PathSoFar, is_over, silent_pdfs
from kd_asr.errors import UserError
from kd_asr.features.frames import is_live, log_mel, normalise
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.usual_speaker import UsualSpeaker
from kd_asr.recognition.online_frames import OnlineFrames, StreamStore
from kd_asr.recognition.pcm import PcmReader
from kd_asr.recognition.sources import microphone

FEATURES = FeatureSettings()
USUAL = UsualSpeaker(np.full(40, 12.0), np.full(40, 9.0), 3000)


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0.1, 1, 1 + int(10 * seconds)), 1600)[: int(16000 * seconds)]
    return (level * loudness * rng.standard_normal(len(loudness))).astype(np.float32)


@pytest.mark.parametrize("usual", [None, USUAL])
def test_frames_that_come_at_once_are_those_of_a_file(usual: UsualSpeaker | None) -> None:
    samples = np.concatenate([noise(0.3), np.zeros(4000, np.float32), noise(0.9, seed=1)])
    expected = normalise([log_mel(samples, FEATURES)], usual)[0]
    found = OnlineFrames(FEATURES, usual).accept(samples, last=True)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_frames_do_not_depend_on_the_blocks_but_for_what_is_known_of_the_speaker() -> None:
    samples, rng = noise(4), np.random.default_rng(0)
    online, places = OnlineFrames(FEATURES, USUAL), np.sort(rng.integers(0, len(samples), 40))
    parts = [online.accept(part) for part in np.split(samples, places)]
    found = np.concatenate([*parts, online.accept(samples[:0], last=True)])
    whole = log_mel(samples, FEATURES)
    assert len(found) == len(whole)
    assert len(parts[0]) == 0  # too little to know the level of the recording
    # At the end everything is known.
    expected = normalise([whole], USUAL)[0]
    last = len(found) - len([part for part in parts if len(part)][-1])
    np.testing.assert_allclose(found[last:], expected[last:], atol=0.02)


def test_the_level_of_a_recording_changes_nothing_and_digital_silence_is_quiet() -> None:
    samples = noise(2)
    loud, soft = (OnlineFrames(FEATURES, USUAL).accept(level * samples, last=True) for level in (1.0, 0.05))
    np.testing.assert_allclose(loud, soft, atol=0.02)
    online = OnlineFrames(FEATURES, USUAL)
    assert np.all(online.accept(np.zeros(8000, np.float32)) < 0)
    assert not len(online.accept(noise(0.3)))  # is waited for
    assert np.isfinite(online.accept(noise(0.3), last=True)).all()
    assert is_live(log_mel(noise(0.3), FEATURES)).all()


def test_a_part_of_a_stream_is_a_store_with_repeated_ends() -> None:
    frames = np.arange(60, dtype=np.float32).repeat(40).reshape(60, 40)
    store = StreamStore(frames, 50, 6, FEATURES)
    assert store.num_frames("stream") == 6
    assert store.frames("stream")[:, 0].tolist() == list(range(50, 56))
    assert store.matrix[:32, 0].tolist() == list(range(18, 50))
    assert store.matrix[38:, 0].tolist() == [56, 57, 58, *[59] * 29]


def wav(samples: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format="WAV", **{"subtype": "PCM_16", **options})
    return file.getvalue()


def heard(data: bytes, channel: int | None = None) -> tuple[int, np.ndarray]:
    """Rate and samples; the same however the bytes are cut."""
    found = []
    for size in (1, 7, len(data) + 1):
        reader = PcmReader(16000, channel)
        parts = [data[place : place + size] for place in range(0, len(data), size)]
        blocks = [block for part in parts for block in reader.accept(part)]
        found.append(np.concatenate([*blocks, *reader.accept(b"", last=True), np.zeros(0, np.float32)]))
        np.testing.assert_array_equal(found[-1], found[0])
    return reader.rate, found[0]


def test_pcm_and_wav_are_read_from_a_pipe() -> None:
    samples = np.stack([noise(0.5), noise(0.5, seed=1)], axis=1)
    data = wav(samples)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    rate, found = heard(data)
    assert rate == 8000
    np.testing.assert_allclose(found, expected.mean(axis=1), atol=1e-7)
    np.testing.assert_array_equal(heard(data, 2)[1], expected[:, 1])
    # A recorder that writes into a pipe does not know the length, and may tell other things first.
    place = data.index(b"data")
    endless = data[:place] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"data" + b"\xff" * 4 + data[place + 8 :]
    np.testing.assert_array_equal(heard(endless)[1], found)
    bare = data[place + 8 :]
    rate, found = heard(bare + b"\1")  # cut in the middle of a sample
    assert rate == 16000
    np.testing.assert_array_equal(found, np.frombuffer(bare, "<i2").astype(np.float32) / 32768)
    assert len(heard(b"")[1]) == len(heard(b"\1")[1]) == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"fLaC\0\0\0\x22", "is FLAC, not PCM or WAV: decode it first"),
        (b"RIFF\0\0\0\0AVI LIST", "begins like a WAV, but is none"),
        (b"RIFF", "begins like a WAV, but is none"),
        (wav(noise(0.1))[:30], "a WAV without samples"),
        (wav(noise(0.1)).replace(struct.pack("<I", 8000), b"\xff" * 4), "of 4294967295 Hz, not of 4000 to 384000"),
        (wav(noise(0.1), subtype="PCM_24"), "of another kind than PCM of 16 bits"),
        (wav(noise(0.1), subtype="FLOAT"), "of another kind than PCM of 16 bits"),
    ],
)
def test_what_is_no_pcm_is_told(data: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        heard(data)


def test_a_channel_that_there_is_not_is_told() -> None:
    with pytest.raises(UserError, match="--channel 2: the stream has 1"):
        heard(wav(noise(0.1)), 2)


@pytest.mark.parametrize(
    ("speech", "silence", "relative_cost", "over"),
    [
        # Seconds of speech and of silence after it; just within and just beyond each rule.
        (0.0, 4.9, 0.0, False), (0.0, 5.0, math.inf, True),
        (1.0, 0.4, 0.0, False), (1.0, 0.5, 2.0, True), (1.0, 0.5, 2.1, False),
        (1.0, 0.9, 8.0, False), (1.0, 1.0, 8.0, True), (1.0, 1.0, 8.1, False),
        (1.0, 1.9, math.inf, False), (1.0, 2.0, math.inf, True),
        (19.7, 0.2, math.inf, False), (19.8, 0.2, math.inf, True), (19.9, 0.1, math.inf, False),
        (39.9, 0.0, math.inf, False), (40.0, 0.0, math.inf, True),
    ],
)  # fmt: skip
def test_an_utterance_ends_by_rules(speech: float, silence: float, relative_cost: float, over: bool) -> None:
    silent = silent_pdfs(Topology.uniform(("SIL", "SPN", "AA", "B")))
    assert silent.tolist() == [True] * 3 + [False] * 9
    pdfs = np.concatenate([np.full(round(100 * speech), 7), np.full(round(100 * silence), 1)])
    assert is_over(PathSoFar((), pdfs.astype(np.int32), relative_cost), silent, 0.01) == over


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'sounddevice'"), r"pip install 'kd-asr\[microphone\]'"),
        (OSError("PortAudio library not found"), r"needs PortAudio .*apt install libportaudio2"),
    ],
)
def test_a_microphone_that_cannot_be_read_says_what_to_install(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(name: str, *arguments: object, **options: object) -> object:
        if name == "sounddevice":
            raise error
        return original(name, *arguments, **options)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=said):
        microphone(16000)
