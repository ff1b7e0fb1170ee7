"""Stage `corpus`: made when it is missing, left alone when it is there, refused when it is not ours to fill."""

import pytest

from kd_asr.corpora import embedded
from kd_asr.corpora.librispeech import subset_names
from kd_asr.corpora.synthetic import EmbeddedSize
from kd_asr.errors import UserError
from kd_asr.stages.corpus import corpus
from kd_asr.stages.settings import parse_settings

TINY = EmbeddedSize(1, 1, 1, 0.1, 0.1, 0.1)


def embedded_settings(root, seed=1):
    flags = [f"--corpus.embedded.root={root}", f"--corpus.embedded.seed={seed}", "--corpus.embedded.size=miniature"]
    return parse_settings([*flags, "--seed=9", "--jobs=1"])  # which are not of the speech


def test_the_embedded_corpus_is_made_once_and_made_again_for_another_seed_of_its_own(
    tmp_path, run_dir, monkeypatch, capsys
):
    monkeypatch.setitem(embedded.SIZES, "miniature", TINY)
    root = tmp_path / "data" / "embedded"
    corpus(run_dir, embedded_settings(root))
    assert subset_names(root) == ["dev", "test", "train"]
    recipe = (root / "recipe.json").read_text()
    assert "made before" not in capsys.readouterr().err
    corpus(run_dir, embedded_settings(root))
    assert "embedded corpus of seed 1, made before" in " ".join(capsys.readouterr().err.split())
    corpus(run_dir, embedded_settings(root, seed=2))
    assert "made before" not in capsys.readouterr().err
    assert (root / "recipe.json").read_text() != recipe


def test_a_folder_of_the_user_s_own_is_only_checked(tmp_path, run_dir):
    root = tmp_path / "own"
    (root / "train-clean-5").mkdir(parents=True)
    with pytest.raises(UserError, match="own/train-clean-5 has no transcripts"):
        corpus(run_dir, parse_settings([f"--corpus.librispeech.root={root}"]))
    with pytest.raises(UserError, match="there is no corpus folder"):
        corpus(run_dir, parse_settings([f"--corpus.librispeech.root={tmp_path / 'nowhere'}"]))
    assert [path.name for path in root.iterdir()] == ["train-clean-5"]
