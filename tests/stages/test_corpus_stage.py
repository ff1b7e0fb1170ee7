"""Stage `corpus`: made when it is missing, left alone when it is there, refused when it is not ours to fill."""

import pytest

from kd_asr.corpora import choose
from kd_asr.corpora.librispeech import subset_names
from kd_asr.corpora.synthetic import EmbeddedSize
from kd_asr.errors import UserError
from kd_asr.stages.corpus import corpus
from kd_asr.stages.settings import parse_settings

TINY = EmbeddedSize(1, 1, 1, 0.1, 0.1, 0.1)


def embedded_settings(root, seed=1):
    flags = ["--corpus.source=embedded", f"--corpus.root={root}", f"--corpus.embedded_seed={seed}"]
    flags += ["--seed=9", "--jobs=1"]  # not of the speech
    return parse_settings([*flags, "--corpus.train=train", "--corpus.dev=dev", "--corpus.test=test"])


def test_the_embedded_corpus_is_made_once_and_made_again_for_another_seed_of_its_own(tmp_path, run_dir, monkeypatch):
    made = []

    def synthesize_tiny(folder, *, seed, size, jobs):
        made.append(seed)
        real(folder, seed=seed, size=TINY, jobs=jobs)

    real = choose.synthesize
    complete = choose.is_complete
    monkeypatch.setattr(choose, "synthesize", synthesize_tiny)
    monkeypatch.setattr(choose, "is_complete", lambda folder, *, seed, size: complete(folder, seed=seed, size=TINY))
    root = tmp_path / "data" / "embedded"
    corpus(run_dir, embedded_settings(root))
    assert subset_names(root) == ["dev", "test", "train"]
    corpus(run_dir, embedded_settings(root))
    assert made == [1]
    corpus(run_dir, embedded_settings(root, seed=2))
    assert made == [1, 2]


def test_a_folder_of_the_user_s_own_is_only_checked(tmp_path, run_dir):
    root = tmp_path / "own"
    (root / "train-clean-5").mkdir(parents=True)
    with pytest.raises(UserError, match="own/train-clean-5 has no transcripts"):
        corpus(run_dir, parse_settings([f"--corpus.root={root}"]))
    with pytest.raises(UserError, match="there is no corpus folder"):
        corpus(run_dir, parse_settings([f"--corpus.root={tmp_path / 'nowhere'}"]))
    assert [path.name for path in root.iterdir()] == ["train-clean-5"]
