"""The prepare stage on a corpus in miniature."""

import dataclasses

import numpy as np
import pytest
import soundfile

from kd_asr.corpora.manifest import read_manifest
from kd_asr.errors import UserError
from kd_asr.stages.prepare import prepare

RATE = 16000


def add(root, subset, speaker, number, text="ONE TWO", seconds=0.5):
    folder = root / subset / speaker / "1"
    folder.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(number).standard_normal(int(seconds * RATE))
    soundfile.write(folder / f"{speaker}-1-{number:04d}.flac", samples, RATE)
    with (folder / f"{speaker}-1.trans.txt").open("a") as file:
        file.write(f"{speaker}-1-{number:04d} {text}\n")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "LibriSpeech"
    for subset, speaker in (("train", "1"), ("train", "2"), ("dev", "3"), ("test", "4")):
        add(folder, subset, speaker, 0)
        add(folder, subset, speaker, 1, "THREE")
    return folder


@pytest.fixture
def prepare_settings(settings, root):
    corpus = dataclasses.replace(settings.corpus, root=str(root), train="train", dev="dev", test="test")
    return dataclasses.replace(settings, corpus=corpus, jobs=1)


def test_manifests_and_counts(run_dir, root, prepare_settings, capsys):
    add(root, "train", "1", 2, "")
    add(root, "train", "1", 3, "SHORT", seconds=0.1)
    artifact = prepare(run_dir, prepare_settings)
    train = read_manifest(artifact.path / "train.jsonl")
    assert [item.utterance_id for item in train] == ["1-1-0000", "1-1-0001", "2-1-0000", "2-1-0001"]
    assert artifact.metrics["train"] == {
        "utterances": 4,
        "seconds": 2.0,
        "speakers": 2,
        "words": 6,
        "rejected": 2,
        "rejected_by_reason": {"empty transcript": 1, "shorter than corpus.min_seconds": 1},
    }
    assert artifact.metrics["rejected"] == 2
    table = (artifact.path / "rejected.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in table] == ["utterance_id", "1-1-0002", "1-1-0003"]
    assert "2 left out (1 empty transcript, 1 shorter than corpus.min_seconds)" in capsys.readouterr().err


def test_it_is_done_again_only_when_the_corpus_or_its_settings_change(run_dir, root, prepare_settings):
    first = prepare(run_dir, prepare_settings)
    assert prepare(run_dir, prepare_settings) == first
    add(root, "dev", "3", 2, "FOUR")
    second = prepare(run_dir, prepare_settings)
    assert second.fingerprint != first.fingerprint
    assert second.metrics["dev"]["utterances"] == 3
    stricter = dataclasses.replace(prepare_settings.corpus, min_seconds=0.45)
    assert prepare(run_dir, dataclasses.replace(prepare_settings, corpus=stricter)).fingerprint != second.fingerprint


def test_shared_speakers_and_missing_subsets_stop_it(run_dir, root, prepare_settings):
    add(root, "test", "1", 0)
    with pytest.raises(UserError, match=r"train and test share speakers \(1\)"):
        prepare(run_dir, prepare_settings)
    gone = dataclasses.replace(prepare_settings.corpus, dev="dev-clean-2")
    with pytest.raises(UserError, match="no subset 'dev-clean-2'; subsets there: dev, test, train"):
        prepare(run_dir, dataclasses.replace(prepare_settings, corpus=gone))
