"""The embedded corpus as a corpus."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_librispeech
from spoken import Speech

from kd_asr.corpora import embedded
from kd_asr.corpora.embedded import Embedded, EmbeddedSettings
from kd_asr.corpora.synthetic import EmbeddedSize


def write(folder: Path, speech: Speech) -> EmbeddedSettings:
    """LibriSpeech's layout, as if it had been made."""
    return EmbeddedSettings(root=test_librispeech.write(folder, speech).root)


def test_phone_times_are_where_they_are(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(embedded.SIZES, "miniature", EmbeddedSize(1, 1, 1, 0.05, 0.05, 0.05))
    corpus = Embedded(EmbeddedSettings(root=str(tmp_path / "data" / "speech"), size="miniature"))
    assert corpus.true_phones("dev") is None
    corpus.obtain(jobs=1)
    path = corpus.true_phones("dev")
    assert path is not None and path.is_file()
    assert "SYNTHETIC" in corpus.label and "not LibriSpeech" in corpus.label


def test_only_the_large_size_brings_unlabelled_speech(tmp_path) -> None:
    for size, expected in (("full", ()), ("miniature", ()), ("large", (tmp_path / "unlabelled",))):
        assert Embedded(EmbeddedSettings(root=str(tmp_path), size=size)).unlabelled == expected
