"""Audio files of every kind that can go wrong: one reason for each, never another exception."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings

from kd_asr.corpora.audio import check_audio, check_segments
from kd_asr.corpora.sound import Sound, UnusableAudio, go_to, measure, mono_blocks, open_sound

NOISE = (0.1 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32)


def write(path: Path, samples: np.ndarray = NOISE, rate: int = 16000, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def measure_sound(path: str | Path, channel: int | None = None) -> Sound:
    with open_sound(path) as file:
        return measure(file, channel)


def halved(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def patched(path: Path, place: int, content: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[place : place + len(content)] = content
    path.write_bytes(bytes(data))
    return path


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def float_with(value: float, path: Path) -> Path:
    samples = NOISE.copy()
    samples[5000] = value
    return write(path, samples, subtype="FLOAT")


# The second half of each second has the opposite phase.
PHASE = np.where(np.arange(16000) < 8000, 1.0, -1.0)
UNUSABLE = {
    "a.wav": (lambda path: path, "unreadable audio: No such file"),
    "folder.wav": (lambda path: path.mkdir() or path, "not a file"),
    "fifo.wav": (fifo, "not a regular file"),
    "empty.wav": (lambda path: path.touch() or path, "empty file"),
    "headerless.raw": (lambda path: path.write_bytes(NOISE.tobytes()) and path, "unreadable audio: Format not rec"),
    "text.flac": (lambda path: path.write_text("no audio" * 99) and path, "unreadable audio"),
    "slow.wav": (lambda path: write(path, rate=1), "sample rate 1 Hz is below 8000 Hz"),
    "fast.wav": (lambda path: write(path, rate=10_000_000), "is above 768000 Hz"),
    "nan.wav": (lambda path: float_with(np.nan, path), "not finite"),
    "inf.wav": (lambda path: float_with(-np.inf, path), "not finite"),
    "loud.wav": (lambda path: float_with(1e37, path), r"samples of 1e\+37 times full scale"),
    "phase.wav": (lambda path: write(path, np.stack([NOISE, -NOISE], axis=1)), "opposite phase"),
    # Half of it would be silence in training.
    "flips.wav": (lambda path: write(path, np.stack([NOISE, PHASE * NOISE], axis=1)), "opposite phase"),
    "cut.rf64": (lambda path: halved(write(path, format="RF64")), "truncated audio: 7974 of 16000 samples"),
    "cut.wav": (lambda path: halved(write(path)), "truncated audio: 15978 of 32000 bytes"),
    "cut.aiff": (lambda path: halved(write(path)), "truncated audio"),
    "cut.w64": (lambda path: halved(write(path)), "truncated audio"),
    "cut.au": (lambda path: halved(write(path)), "truncated audio"),
    "cut.ogg": (lambda path: halved(write(path)), "truncated audio: its last page is missing"),
    "cut.flac": (lambda path: halved(write(path)), "truncated audio|unreadable audio"),
    # STREAMINFO holds the number of samples in 36 bits: none, and all of them.
    "endless.flac": (lambda path: patched(write(path), 22, bytes(4)), "header does not tell its length"),
    "huge.flac": (lambda path: patched(write(path), 21, b"\xff\xff\xff\xff\xff"), "truncated audio|unreadable audio"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_is_one_reason(tmp_path: Path, name: str) -> None:
    make, reason = UNUSABLE[name]
    with pytest.raises(UnusableAudio, match=reason) as caught:
        measure_sound(make(tmp_path / name))
    assert str(caught.value).isprintable() and str(tmp_path) not in str(caught.value)


def test_a_header_that_belies_its_length_takes_no_memory_and_a_streamed_one_is_read(tmp_path: Path) -> None:
    streamed = patched(patched(write(tmp_path / "s.wav"), 40, b"\xff\xff\xff\xff"), 4, b"\xff\xff\xff\xff")
    assert measure_sound(streamed).samples == 16000


@pytest.mark.parametrize("subtype", ["GSM610", "ULAW", "PCM_24", "DOUBLE"])
def test_formats_that_cannot_be_sought_in_are_read(tmp_path: Path, subtype: str) -> None:
    found = measure_sound(write(tmp_path / "a.wav", rate=8000, subtype=subtype))
    assert found.rate == 8000 and 0.2 < found.peak < 0.7
    assert abs(found.samples - 16000) <= 320


def test_names_that_are_not_utf_8_are_names(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    write(tmp_path / "a.wav").rename(name)
    assert measure_sound(name).samples == 16000


def test_channels_are_mixed_or_chosen(tmp_path: Path) -> None:
    other = np.roll(NOISE, 100)
    path = write(tmp_path / "two.wav", np.stack([NOISE, other], axis=1), subtype="FLOAT")
    for channel, expected in ((None, (NOISE + other) / 2), (1, NOISE), (2, other)):
        with open_sound(path) as file:
            np.testing.assert_allclose(np.concatenate(list(mono_blocks(file, channel))), expected, atol=1e-7)
    with pytest.raises(UnusableAudio, match="2 channels, and no channel 3"):
        measure_sound(path, 3)
    opposite = write(tmp_path / "opposite.wav", np.stack([NOISE, -NOISE], axis=1))
    assert measure_sound(opposite, 2).samples == 16000
    lone = write(tmp_path / "lone.wav", np.pad(NOISE[:, None], ((0, 0), (0, 15))))  # one of 16 channels has sound
    assert measure_sound(lone).samples == 16000


def archived(path: Path, content: bytes) -> str:
    """The content in an archive, after that of another file and before something else."""
    before = b"first " + write(path.with_suffix(".other.wav"), NOISE[:999]).read_bytes() + b"second "
    path.write_bytes(before + content + b"third ")
    return f"{path}:{len(before)}"


def test_a_part_of_a_file_is_that_of_the_whole(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.wav", np.stack([NOISE, np.roll(NOISE, 100)], axis=1), subtype="FLOAT")
    for path in (whole, archived(tmp_path / "a.ark", whole.read_bytes())):
        for first, count in ((0, 16000), (0, 100), (5000, 7000), (15999, 1)):
            with open_sound(path) as file:
                go_to(file, first)
                part = np.concatenate(list(mono_blocks(file, 2, count)))
            assert np.array_equal(part, np.roll(NOISE, 100)[first : first + count])
        with open_sound(path) as file, pytest.raises(UnusableAudio, match="truncated audio: 1000 of 1001 samples"):
            go_to(file, 15000)
            list(mono_blocks(file, num_samples=1001))
        with open_sound(path) as file, pytest.raises(UnusableAudio, match="unreadable audio"):
            go_to(file, 16001)


def test_what_is_in_an_archive_has_the_guards_of_a_file(tmp_path: Path) -> None:
    good = write(tmp_path / "good.wav").read_bytes()
    contents = {
        "sample rate 1 Hz is below 8000 Hz": write(tmp_path / "a.wav", rate=1).read_bytes(),
        "audio holds samples that are not finite": float_with(np.nan, tmp_path / "nan.wav").read_bytes(),
        "opposite phase": write(tmp_path / "phase.wav", np.stack([NOISE, -NOISE], axis=1)).read_bytes(),
        "unreadable audio: no WAV file of known length at byte": b"no audio",
        "truncated audio: .* of 32000 bytes": good[:-9999],
        "truncated audio: .* of 320000 bytes": good[:40] + (320000).to_bytes(4, "little") + good[44:],
    }
    for number, (reason, content) in enumerate(contents.items()):
        with pytest.raises(UnusableAudio, match=reason):
            measure_sound(archived(tmp_path / f"{number}.ark", content))
    with pytest.raises(UnusableAudio, match="unreadable audio"):
        measure_sound(f"{tmp_path / '0.ark'}:{10**30}")
    with pytest.raises(UnusableAudio, match="not a file"):
        (tmp_path / "folder.ark").mkdir()
        measure_sound(f"{tmp_path / 'folder.ark'}:12")
    assert measure_sound(archived(tmp_path / "good.ark", good)).samples == 16000


def test_one_bad_segment_leaves_the_others(tmp_path: Path) -> None:
    path = float_with(np.nan, tmp_path / "a.wav")  # at sample 5000
    parts = [(0.0, 0.25), (0.25, 0.5), (0.5, None), (0.75, 0.75), (1e308, None)]
    first, second, third, fourth, fifth = check_segments(path, parts, 0.1, 2.0)
    assert (first, third) == ((16000, 0, 4000), (16000, 8000, 8000))
    assert second == "audio holds samples that are not finite" and str(fourth).startswith("segment without length")
    assert str(fifth).startswith("segment without length")
    assert check_audio(path, 0.1, 2.0) == second
    unseekable = write(tmp_path / "b.wav", rate=8000, subtype="GSM610")
    assert isinstance(check_audio(unseekable, 0.1, 3.0), tuple)
    assert "GSM610: encode the file as FLAC" in str(check_segments(unseekable, [(0.0, 1.0)], 0.1, 2.0)[0])


@given(st.data())
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_changed_gives_samples_or_a_reason(tmp_path: Path, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["wav", "flac", "ogg", "aiff", "au"]))
    path = tmp_path / f"a.{form}"
    if not (tmp_path / f"whole.{form}").exists():
        write(tmp_path / f"whole.{form}", NOISE[:1600])
    content = bytearray((tmp_path / f"whole.{form}").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(content), 200)))
        content[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    path.write_bytes(bytes(content))
    with contextlib.suppress(UnusableAudio):
        assert np.isfinite(measure_sound(path).peak)
