"""Pseudo-labels: what is kept of what recognisers hear, and that nothing is heard twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kd_asr.cli.pseudo_label import _named
from kd_asr.corpora.base import corpus_of
from kd_asr.corpora.table import TableSettings
from kd_asr.errors import UserError
from kd_asr.exchange.own_system import OwnSystemSettings
from kd_asr.exchange.pseudo_labels import PseudoLabelSettings, fault, pseudo_label, summary
from kd_asr.pretrained.base import Heard, Pretrained, Samples
from kd_asr.registry import Named, named
from kd_asr.settings.files import parse_settings_of

HEARD: list[int] = []


@dataclass(frozen=True)
class LevelSettings:
    """Loudness, as words.

    Attributes:
        careless: Whether loud pieces are heard in another way.
    """

    careless: bool = False


class Level(Pretrained):
    """Hears as many words as the peak has tenths; is as sure as the peak is high."""

    Settings = LevelSettings
    gives = frozenset({"words"})
    packages = ()

    def hear(self, samples: Samples) -> Heard:
        HEARD.append(len(samples))
        tenths = round(10 * float(np.abs(samples).max()))
        if self.settings.careless and tenths > 6:
            return Heard("something else", 0.9)
        return Heard(" ".join(["Word."] * (tenths - 1)), tenths / 10)


def model(*, careless: bool = False) -> Named:
    return named("pretrained", f"{__name__}:Level", LevelSettings(careless))


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """Files that peak at 0.1, which has no words, 0.3, 0.5 and 0.7, and a long one; another is no audio."""
    folder = tmp_path / "audio"
    (folder / "anna").mkdir(parents=True)
    noise = np.random.default_rng(0).uniform(-1, 1, 16000).astype(np.float32)
    for tenths in (1, 3, 5, 7):
        soundfile.write(folder / "anna" / f"{tenths}.wav", tenths / 10 * noise / np.abs(noise).max(), 16000)
    long = np.concatenate([0.4 * noise, 0.4 * noise, np.zeros(1600, np.float32), 0.2 * noise, 0.2 * noise])
    soundfile.write(folder / "long.flac", long, 16000)
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


SETTINGS = PseudoLabelSettings(recogniser=model(), longest_seconds=3.0, speaker="^([a-z]+)/")


def test_the_table_trains_and_says_what_was_left_out(audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "heard.tsv"
    counts = pseudo_label([audio], out, replace(SETTINGS, least_confidence=0.35), jobs=1)
    assert counts.pieces == 6 and counts.kept == 3
    assert sum(counts.left_out.values()) == 4
    assert {name: counts.left_out[name] for name in ("no words", "not sure enough")} == {
        "no words": 1, "not sure enough": 2,
    }  # fmt: skip
    assert "3 of 6 pieces" in summary(counts, out) and "2 not sure enough" in summary(counts, out)
    table = corpus_of(named("corpus", "table", TableSettings(train=str(out), least_confidence=0.45)))
    listed = table.listing("train").utterances
    assert [(Path(one.audio_path).name, one.text, one.speaker_id) for one in listed] == [
        ("5.wav", "Word. Word. Word. Word.", "anna"), ("7.wav", "Word. Word. Word. Word. Word. Word.", "anna"),
    ]  # fmt: skip
    first, last = (
        corpus_of(named("corpus", "table", TableSettings(train=str(out)))).listing("train").utterances[-1:],
        4.1,
    )
    assert first[0].segment is not None and first[0].segment[0] == 0 and 1.9 < first[0].segment[1] < last / 2 + 0.1


def test_an_interrupted_command_goes_on_and_other_filters_do_not_listen_again(audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "heard.tsv"
    pseudo_label([audio], out, SETTINGS, jobs=1)
    whole, kept = out.read_text(), tmp_path / "heard.tsv.Level.jsonl"
    lines = kept.read_text().splitlines(keepends=True)
    assert len(lines) == 7
    kept.write_text("".join(lines[:4]) + lines[4][:-9])
    HEARD.clear()
    pseudo_label([audio], out, SETTINGS, jobs=1)
    assert (
        len(HEARD) == 3
        and out.read_text() == whole
        and sorted(kept.read_text().splitlines()) == sorted(line.strip() for line in lines)
    )
    HEARD.clear()
    pseudo_label([audio], out, replace(SETTINGS, least_confidence=0.5), jobs=1)
    assert not HEARD
    with pytest.raises(UserError, match="was heard by another recogniser: delete it"):
        pseudo_label([audio], out, replace(SETTINGS, recogniser=model(careless=True)), jobs=1)
    kept.write_text("{}\n1\n")
    with pytest.raises(UserError, match=r"does not hold what a recogniser heard|was heard by another"):
        pseudo_label([audio], out, SETTINGS, jobs=1)


def test_two_recognisers_must_agree() -> None:
    settings = PseudoLabelSettings(most_difference=0.25)
    first = Heard("At 10, the DOG barked", 0.9)  # five words
    assert not fault(first, Heard("at ten the dog bark", 0.1), settings)
    assert fault(first, Heard("at ten the frog bark", 0.1), settings) == "recognisers differ"
    assert not fault(first, None, settings)
    assert fault(Heard("...", 1.0), None, settings) == "no words"


def test_what_cannot_be_done_is_told(audio: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing of 6 pieces is kept: 5 not sure enough"):
        pseudo_label([audio], tmp_path / "t.tsv", replace(SETTINGS, least_confidence=0.99), jobs=1)
    with pytest.raises(UserError, match="hama gives no words"):
        pseudo_label([audio], tmp_path / "t.tsv", PseudoLabelSettings(recogniser=named("pretrained", "hama")))


def test_a_folder_as_recogniser_is_a_system_of_ours(tmp_path: Path) -> None:
    settings = parse_settings_of(PseudoLabelSettings, _named(f"--recogniser={tmp_path}"))
    assert settings.recogniser.settings == OwnSystemSettings(str(tmp_path))
    assert _named("--second=whisper") == ["--second=whisper"]
