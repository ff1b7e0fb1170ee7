"""Corpora are recognised by what they list, in every layout that there is."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from spoken import RATE, little_speech

from kd_asr.corpora.base import SetsSettings, corpus_of, listings
from kd_asr.corpora.guess import guess_corpus
from kd_asr.errors import UserError
from kd_asr.registry import find, named, names

SETS = [name for name in names("corpus") if issubclass(find("corpus", name).Settings, SetsSettings)]


@pytest.mark.parametrize("name", [*SETS, "librispeech"])
def test_every_layout_is_recognised_with_its_sets(name: str, tmp_path: Path) -> None:
    settings = importlib.import_module(f"test_{name}").write(tmp_path, little_speech())
    guess = guess_corpus(tmp_path)
    assert guess.corpus.name == name
    assert guess.utterances == 12
    found, expected = (listings(corpus_of(one)) for one in (guess.corpus, named("corpus", name, settings)))
    # The settings of some tests name columns and speakers; what is found in a folder alone are sets and files.
    assert {key: [one.audio_path for one in value.utterances] for key, value in found.items()} == {
        key: [one.audio_path for one in value.utterances] for key, value in expected.items()
    }


def test_subsets_of_librispeech_are_told_by_the_first_word_of_their_names(tmp_path: Path) -> None:
    importlib.import_module("test_librispeech").write(tmp_path, little_speech())
    root = tmp_path / "speech"
    for old, new in (("train", "train-clean-5"), ("dev", "dev-from-train-100"), ("test", "test-clean")):
        (root / old).rename(root / new)
    settings = guess_corpus(tmp_path).corpus.settings
    assert (settings.root, settings.name) == (str(root), "speech")
    assert (settings.train, settings.dev, settings.test) == ("train-clean-5", "dev-from-train-100", "test-clean")
    (root / "test-clean").rename(root / "other")
    with pytest.raises(UserError, match="by the subsets dev-from-train-100, other, train-clean-5: choose with"):
        guess_corpus(tmp_path)


def test_a_single_set_is_train(tmp_path: Path) -> None:
    for one in little_speech()["train"]:
        one.write(tmp_path / one.speaker, ".wav").with_suffix(".txt").write_text(one.text)
    guess = guess_corpus(tmp_path)
    assert (guess.corpus.name, guess.utterances) == ("folder", 4)
    assert guess.corpus.settings == replace(guess.corpus.settings, train=str(tmp_path), dev="", test="")


def test_further_sets_are_named(tmp_path: Path) -> None:
    for name, spoken in little_speech().items():
        for one in spoken:
            for folder in (name, f"{name}-other"):
                one.write(tmp_path / folder / one.speaker, ".wav").with_suffix(".txt").write_text(one.text)
    guess = guess_corpus(tmp_path)
    assert Path(guess.corpus.settings.train).name == "train"
    assert guess.others == ("dev-other", "test-other", "train-other")


def test_a_folder_of_no_known_layout_is_one_sentence_with_what_lies_there(tmp_path: Path) -> None:
    for number in range(3):
        soundfile.write(tmp_path / f"seven_{number}.wav", little_speech()["train"][0].samples, RATE)
    with pytest.raises(UserError, match=r"there are 3 \.wav\. Name the layout .* folder: .* no transcript: neither"):
        guess_corpus(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is nothing"):
        guess_corpus(tmp_path / "empty")
    with pytest.raises(UserError, match="there is no folder or file"):
        guess_corpus(tmp_path / "nowhere")
