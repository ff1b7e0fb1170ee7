"""What holds of every corpus: each registered one is found here by itself, and one of a user's own beside them.

The module `test_NAME` of a corpus has a function `write(folder, speech)` that writes a little speech in its format and
gives the settings that read it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from spoken import Speech, essence, expected, little_speech

from kd_asr import registry
from kd_asr.corpora.base import Corpus, SetsSettings, corpus_of, listings, set_names
from kd_asr.corpora.manifest import SETS
from kd_asr.corpora.scan import listing_digest, scan, stamps
from kd_asr.errors import UserError
from kd_asr.registry import find, named, names
from kd_asr.settings.fields import dump, settings_of
from kd_asr.settings.help import help_text
from kd_asr.stages.settings import Settings, parse_settings

NAMES = names("corpus")


def written(name: str, folder: Path, speech: Speech | None = None) -> Corpus:
    """A corpus with a little speech."""
    write: Callable[[Path, Speech], Any] = importlib.import_module(f"test_{name}").write
    folder.mkdir(parents=True, exist_ok=True)
    return corpus_of(named("corpus", name, write(folder, speech or little_speech())))


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_frozen_documented_and_can_be_given_as_flags_and_yaml(name: str, tmp_path) -> None:
    cls = find("corpus", name)
    assert issubclass(cls, Corpus)
    assert cls.description.endswith(".")
    assert is_dataclass(cls.Settings) and cls.Settings.__dataclass_params__.frozen
    text = help_text(Settings)
    assert f"  {name}: " in text
    for key in settings_of(cls.Settings):
        assert f"  .{name}.{key} " in text
    assert set(cls.paths) <= {one.name for one in fields(cls.Settings)}
    settings = written(name, tmp_path).settings
    flags = [f"--corpus.{name}.{key}={value}" for key, value in dump(settings).items()]
    assert parse_settings(flags).corpus == named("corpus", name, settings)
    assert parse_settings(["--corpus", name]).corpus.name == name


@pytest.mark.parametrize("name", NAMES)
def test_it_lists_the_same_whenever_it_is_asked(name: str, tmp_path) -> None:
    corpus = written(name, tmp_path)
    first, again = listings(corpus), listings(corpus_of(named("corpus", name, corpus.settings)))
    assert list(first) == list(SETS)
    assert first == again
    assert {key: listing_digest(one) for key, one in first.items()} == {
        key: listing_digest(one) for key, one in again.items()
    }
    corpus.check()
    for listing in first.values():
        assert listing.rejected == []
        for item in listing.utterances:
            assert Path(item.audio_path).is_absolute()
            assert item.text and item.speaker_id and item.utterance_id.split() == [item.utterance_id]


@pytest.mark.parametrize("name", NAMES)
def test_every_audio_file_has_a_stamp(name: str, tmp_path) -> None:
    corpus = written(name, tmp_path)
    listing = corpus.listing("train")
    before = stamps(listing)
    Path(listing.utterances[-1].audio_path).write_bytes(b"changed")
    assert stamps(corpus.listing("train")) != before


@pytest.mark.parametrize("name", NAMES)
def test_what_was_written_is_found(name: str, tmp_path) -> None:
    speech = little_speech()
    found = scan(list(listings(written(name, tmp_path, speech)).values()), jobs=1)
    for one, spoken in zip(found, speech.values(), strict=True):
        assert one.rejected == []
        assert essence(one.utterances) == expected(spoken)


@pytest.mark.parametrize("name", NAMES)
def test_the_label_and_the_names_of_the_sets_are_for_titles(name: str, tmp_path) -> None:
    corpus = written(name, tmp_path)
    assert corpus.label.isprintable()
    assert str(tmp_path) not in corpus.label
    assert list(set_names(corpus)) == list(SETS)
    if "name" in settings_of(type(corpus.settings)):
        renamed = corpus_of(named("corpus", name, replace(corpus.settings, name="My speech")))
        assert renamed.label.startswith("My speech (train ")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_there_is_one_sentence(name: str, tmp_path) -> None:
    corpus = written(name, tmp_path)
    for key in corpus.paths:
        broken = corpus_of(
            named("corpus", name, replace(corpus.settings, **{key: str(tmp_path / "there is no such place")}))
        )
        with pytest.raises(UserError) as error:
            listings(broken)
        assert "\n" not in str(error.value)
        assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_paths_are_absolute_in_a_run_folder(name: str, tmp_path, monkeypatch) -> None:
    settings = written(name, tmp_path).settings
    monkeypatch.chdir(tmp_path)
    cls = find("corpus", name)
    values = {key: getattr(settings, key) for key in cls.paths}
    relative = {key: str(Path(value).relative_to(tmp_path)) for key, value in values.items() if value}
    assert cls(replace(settings, **relative)).settled() == settings


@pytest.mark.parametrize("name", [name for name in NAMES if issubclass(find("corpus", name).Settings, SetsSettings)])
def test_dev_and_test_may_be_missing_and_train_may_not(name: str, tmp_path) -> None:
    settings = written(name, tmp_path).settings
    alone = corpus_of(named("corpus", name, replace(settings, dev="", test="")))
    assert list(listings(alone)) == ["train"]
    assert set_names(alone)["dev"] == "speakers of train"
    with pytest.raises(UserError, match=f"corpus.{name}.train is empty"):
        corpus_of(named("corpus", name)).check()
    with pytest.raises(UserError, match="train, dev and test must differ"):
        parse_settings([f"--corpus.{name}.train=a", f"--corpus.{name}.dev=a"])


class NoCorpus:
    Settings = SetsSettings


def test_a_class_that_is_no_corpus_is_refused() -> None:
    with pytest.raises(UserError, match=r"not a subclass of kd_asr\.corpora\.base\.Corpus"):
        corpus_of(named("corpus", "test_every_corpus:NoCorpus"))


def test_the_corpus_of_the_contributors_guide_works_as_it_stands(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = guide.partition("## A new corpus is one file")[2].partition("```python\n")[2].partition("```")[0]
    (tmp_path / "timit.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_CLASSES", {kind: dict(known) for kind, known in registry._CLASSES.items()})
    for folder, spoken in zip(("TRAIN", "TEST"), little_speech().values(), strict=False):
        for one in spoken:
            path = one.write(tmp_path / folder / "DR1" / f"F{one.speaker}", ".wav")
            sentence = path.with_name(f"SX{one.utterance_id[-1]}.WAV")
            path.rename(sentence).with_suffix(".TXT").write_text(f"0 {len(one.samples)} {one.text}.\n")
            (sentence.with_name("SA1.TXT")).write_text("0 1 Everybody reads this.\n")
    settings = SetsSettings(train=str(tmp_path / "TRAIN"), test=str(tmp_path / "TEST"), name="TIMIT")
    corpus = corpus_of(named("corpus", "timit:Timit", settings))
    assert find("corpus", "timit") is type(corpus)
    found = scan(list(listings(corpus).values()), jobs=1)
    for one, spoken in zip(found, little_speech().values(), strict=False):
        assert one.rejected == []
        assert [item[1:] for item in essence(one.utterances)] == [
            (f"F{speaker}", *rest) for _, speaker, *rest in expected(spoken)
        ]
    assert corpus.label == "TIMIT (train TRAIN, dev speakers of train, test TEST)"
    with pytest.raises(UserError, match="holds no sentences"):
        corpus_of(named("corpus", "timit:Timit", SetsSettings(train=str(tmp_path)))).check()
