"""`kd-asr check CORPUS`: what is found, what is odd, what to type next, and the exit status."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from spoken import RATE, little_speech

from kd_asr.cli.main import main
from kd_asr.corpora.survey import sounded, unusual_characters


def speech(seconds: float = 1.0, *, level: float = 0.1, seed: int = 0, rate: int = RATE) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(int(seconds * rate)).astype(np.float32)


def test_levels_clipping_and_silence() -> None:
    plain = sounded(speech(level=0.1), RATE)
    assert plain.level == pytest.approx(-20, abs=0.1)
    assert plain.clipped == plain.silent == 0
    assert plain.above_telephone == pytest.approx(1 - 4400 / 8000, abs=0.02)
    loud = np.clip(speech(level=0.5), -0.3, 0.3) / 0.3
    runs = np.split(loud, np.flatnonzero(np.diff(loud)) + 1)
    count = sum(len(run) for run in runs if len(run) >= 3 and abs(run[0]) == 1)
    assert sounded(loud, RATE).clipped == pytest.approx(count / len(loud))
    assert sounded(0.5 * loud, RATE).clipped == 0
    half = np.concatenate([speech(), np.zeros(RATE, np.float32)])
    assert sounded(half, RATE).silent == 0.5
    telephone = sounded(np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE).astype(np.float32), RATE)
    assert telephone.above_telephone is not None and telephone.above_telephone < 1e-6
    assert sounded(speech(rate=8000), 8000).above_telephone is None


def test_the_same_samples_in_another_file_are_the_same() -> None:
    samples = np.rint(speech() * 32767) / 32767
    assert sounded(samples, RATE).digest == sounded(samples + 1e-7, RATE).digest
    assert sounded(samples, RATE).digest != sounded(samples[::-1], RATE).digest


def test_unusual_characters() -> None:
    assert unusual_characters(["Don\u2019t, 10 - (x)!", "na\u00efve \u20ac5"]) == {"\u00ef": 1, "\u20ac": 1}


def write_folder(folder: Path) -> None:
    """Twelve utterances of two speakers a set, in folders of speakers."""
    for name, spoken in little_speech().items():
        for one in spoken:
            one.write(folder / name / one.speaker, ".wav").with_suffix(".txt").write_text(one.text)


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["check", *arguments, "--jobs", "1"])
    captured = capsys.readouterr()
    return status, captured.out, " ".join(captured.err.split())


def test_a_folder_is_looked_at_and_the_next_command_is_printed(tmp_path, capsys) -> None:
    write_folder(tmp_path)
    train = sorted((tmp_path / "train").rglob("*.wav"))
    soundfile.write(train[0], speech(0.6), 8000)  # another rate
    soundfile.write(train[1], 3 * speech(0.6, level=0.5).clip(-0.3, 0.3) / 0.9, RATE, subtype="PCM_16")  # clipped
    test = sorted((tmp_path / "test").rglob("*.wav"))
    soundfile.write(test[0], soundfile.read(test[1])[0], RATE, subtype="FLOAT")  # a copy with another transcript
    test[0].with_suffix(".txt").write_text("na\u00efve blorptastic [laughter] 12")
    test[3].write_bytes(test[3].read_bytes()[:200])
    status, out, _ = check(capsys, str(tmp_path))
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("train (train): 4 utterances, 2 speakers, 0.0 minutes, 12 words; 0.5 to 1.2 s, median ")
    assert lines[0].endswith("; 8000 Hz and 16000 Hz")
    assert lines[2].startswith("test (test): 3 utterances, 2 speakers, ")
    told = "\n".join(line.removeprefix("  - ") for line in lines)
    for sentence in (
        "train: 1 of 4 utterances are at 8000 Hz; they are resampled to 16000 Hz",
        "train: 1 of 4 utterances are clipped (more than 0.1 % of their samples are cut off at full scale): 1",
        "test: 1 left out, truncated audio: ",
        "1 utterance with the same audio as another, such as 30-30-1-0000, 30-30-1-0001; transcripts differ in 1 case",
        "transcripts hold 1 x \u00ef (latin small letter i with diaeresis): the first in 30-30-1-0000",
        "transcripts hold what is no word and is left out: 1 x [laughter]",
        "transcripts hold 1 number, written out in words, such as 12 as 'twelve'",
        "BLORPTASTIC, NA\u00cfVE; their pronunciations are guessed by espeak-ng",
        "train: 0.0 minutes are little to train on",
        "of the running words are not in the training text, of which the language model is estimated; they cannot be ",
    ):
        assert sentence in told, sentence
    command = shlex.split(lines[-1].removeprefix("next: "))
    assert command[:5] == ["kd-asr", "run", "speech", "--corpus", "folder"]
    assert command[5:] == [word for name in ("train", "dev", "test") for word in (f"--{name}", str(tmp_path / name))]


def test_what_keeps_a_corpus_from_being_used_is_said_with_status_2(tmp_path, capsys) -> None:
    write_folder(tmp_path)
    (tmp_path / "test" / "30").rename(tmp_path / "test" / "10")
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("WORD w o r d\nDON'T d o n t\n")
    status, out, err = check(capsys, str(tmp_path), "--lexicon.path", str(lexicon))
    assert status == 2
    assert "train and test share speakers (10)" in out
    assert "are not in" in out and "cannot be guessed, since its phones (d for one) are not CMUdict's" in out
    assert "next:" not in out
    assert err.endswith("kd-asr: error: the corpus cannot be used, for the 2 reasons above")


def test_sets_are_set_apart_and_a_lower_rate_is_proposed(tmp_path, capsys) -> None:
    for number in range(4):
        folder = tmp_path / f"speaker{number}"
        folder.mkdir()
        soundfile.write(folder / "a.wav", speech(1.0, seed=number, rate=8000), 8000)
        (folder / "a.txt").write_text("hello there")
    (tmp_path / "lexicon").write_text("HELLO HH AH0 L OW1\nTHERE DH EH1 R\n")
    lexicon = f"--lexicon.path={tmp_path / 'lexicon'}"
    given = ["--corpus", "folder", "--train", str(tmp_path), lexicon]
    status, out, _ = check(capsys, *given)
    assert status == 0
    assert "dev (speakers of train): 1 utterance, 1 speaker, " in out
    assert "test: 100 % of the sentences are also in train" in out
    assert out.splitlines()[-1].endswith(f"--corpus folder --train {tmp_path} {lexicon} --features.sample_rate=8000")
    status, _, err = check(capsys, *given, str(tmp_path))
    assert status == 2 and "contradict each other" in err
    status, _, err = check(capsys)
    assert status == 2 and "there is nothing to check" in err
    for number in range(2):
        (tmp_path / f"speaker{number}" / "a.txt").unlink()
    status, out, err = check(capsys, *given)
    assert status == 2
    assert "dev, test cannot be set apart from train, which has 2 speakers" in out
