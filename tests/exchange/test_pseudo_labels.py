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
from kd_asr.exchange.pseudo_labels import PseudoLabelSettings, _before, fault, pseudo_label, summary
from kd_asr.pretrained.base import Heard, Pretrained, Samples
from kd_asr.registry import named
from kd_asr.settings.files import parse_settings_of


@dataclass(frozen=True)
class LevelSettings:
    """Loudness, as words.

    Attributes:
        log: File with a line for each piece that was heard.
    """

    log: str = ""


class Level(Pretrained):
    """Hears as many words as the peak has tenths; is as sure as the peak is high."""

    Settings = LevelSettings
    gives = frozenset({"words"})
    packages = ()

    def recognise(self, samples: Samples) -> Heard:
        with Path(self.settings.log).open("a") as file:
            file.write("heard\n")
        tenths = round(10 * float(np.abs(samples).max()))
        return Heard(" ".join(["Word."] * (tenths - 1)), tenths / 10)


@pytest.fixture
def settings(tmp_path: Path) -> PseudoLabelSettings:
    (tmp_path / "log").touch()
    model = named("pretrained", f"{__name__}:Level", LevelSettings(str(tmp_path / "log")))
    return PseudoLabelSettings(recogniser=model, longest_seconds=3.0, speaker="^([a-z]+)/")


def heard(settings: PseudoLabelSettings) -> int:
    """Pieces that were heard since this was asked."""
    log = Path(settings.recogniser.settings.log)
    count = len(log.read_text().splitlines())
    log.write_text("")
    return count


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


def test_the_table_trains_and_nothing_is_heard_twice(
    audio: Path, tmp_path: Path, settings: PseudoLabelSettings
) -> None:
    out = tmp_path / "heard.tsv"
    counts = pseudo_label([audio], out, replace(settings, least_confidence=0.35), jobs=1)
    assert counts.pieces == heard(settings) == 6 and counts.kept == 3
    assert sum(counts.left_out.values()) == 4
    assert counts.left_out["no words"] == 1 and counts.left_out["not sure enough"] == 2
    assert "3 of 6 pieces" in summary(counts, out) and "2 not sure enough" in summary(counts, out)
    table = corpus_of(named("corpus", "table", TableSettings(train=str(out), least_confidence=0.45)))
    listed = table.listing("train").utterances
    assert [(Path(one.audio_path).name, len(one.text.split()), one.speaker_id) for one in listed] == [
        ("5.wav", 4, "anna"), ("7.wav", 6, "anna"),
    ]  # fmt: skip
    [part] = [one for one in out.read_text().splitlines() if "long.flac" in one]
    start, seconds = map(float, part.split("\t")[1:3])
    assert start == 0 and 1.9 < seconds < 2.2  # cut in the silence

    kept = tmp_path / "heard.tsv.Level.jsonl"
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text("".join(lines[:4]) + lines[4][:-9])  # interrupted
    with pytest.raises(UserError, match=r"nothing of 6 pieces is kept: .*not sure enough"):
        pseudo_label([audio], out, replace(settings, least_confidence=0.99), jobs=1)
    assert heard(settings) == 3
    assert sorted(kept.read_text().splitlines()) == sorted(line.strip() for line in lines)


def test_what_another_recogniser_heard_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"model": 1}\n["a.wav", 0.0, 1.5, "words", 0.5]\n')
    assert _before(path, {"model": 1}) == {("a.wav", 0.0, 1.5): Heard("words", 0.5)}
    with pytest.raises(UserError, match="was heard by another recogniser: delete it"):
        _before(path, {"model": 2})
    path.write_text('{"model": 1}\n1\n')
    with pytest.raises(UserError, match="does not hold what a recogniser heard"):
        _before(path, {"model": 1})


def test_two_recognisers_must_agree() -> None:
    settings = PseudoLabelSettings(most_difference=0.25)
    first = Heard("At 10, the DOG barked", 0.9)  # five words
    assert not fault(first, Heard("at ten the dog bark", 0.1), settings)
    assert fault(first, Heard("at ten the frog bark", 0.1), settings) == "recognisers differ"
    assert not fault(first, None, settings)
    assert fault(Heard("...", 1.0), None, settings) == "no words"


def test_a_model_without_words_is_no_recogniser(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hama gives no words"):
        pseudo_label([tmp_path], tmp_path / "t.tsv", PseudoLabelSettings(recogniser=named("pretrained", "hama")))


def test_a_folder_as_recogniser_is_a_system_of_ours(tmp_path: Path) -> None:
    settings = parse_settings_of(PseudoLabelSettings, _named(f"--recogniser={tmp_path}"))
    assert settings.recogniser.settings == OwnSystemSettings(str(tmp_path))
    assert _named("--second=whisper") == ["--second=whisper"]
