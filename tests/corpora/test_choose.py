"""Which corpus is chosen, and that everything wrong is said before any work."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from kd_asr.corpora import librispeech
from kd_asr.corpora.choose import choose_corpus
from kd_asr.corpora.librispeech import DOWNLOAD_MARK, LibriSpeech, LibriSpeechSettings
from kd_asr.errors import UserError

NAMES = ("train-clean-5", "dev-clean-2", "test-clean")


def make_subset(root, name, speaker):
    folder = root / name / speaker / "1"
    folder.mkdir(parents=True)
    soundfile.write(folder / f"{speaker}-1-0000.flac", np.full(16000, 0.1), 16000)
    (folder / f"{speaker}-1.trans.txt").write_text(f"{speaker}-1-0000 HELLO\n")


def make_corpus(root, names=NAMES):
    for number, name in enumerate(names):
        make_subset(root, name, str(number))
    return root


def fetch_language_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lm.arpa.gz").touch()
    return folder / "lm.arpa.gz"


def choice(source, librispeech, data, *, environment=None, online=False, **names):
    return choose_corpus(
        source,
        librispeech,
        data,
        **names,
        environment=environment or {},
        reachable=lambda: online,
        fetch_language_model=fetch_language_model,
    )


def test_the_order_of_auto(tmp_path):
    data = tmp_path / "data"
    given, variable = make_corpus(tmp_path / "given"), make_corpus(tmp_path / "variable")
    # Nothing anywhere and no network: the embedded corpus, said loudly.
    made = choice("auto", None, data)
    assert (made.source, made.root, made.train, made.arpa) == ("embedded", data / "embedded", "train", "")
    assert "SYNTHETIC" in made.sentence
    assert "no network" in made.sentence
    # A network: mini LibriSpeech.
    made = choice("auto", None, tmp_path / "fresh", online=True)
    assert (made.source, made.root) == ("librispeech", tmp_path / "fresh" / "LibriSpeech")
    assert (made.train, made.dev, made.test) == NAMES
    assert Path(made.arpa).is_file()
    assert "806 MB" in made.sentence
    # data/LibriSpeech comes before the network, $LIBRISPEECH before that, --librispeech before all.
    make_corpus(data / "LibriSpeech")
    assert choice("auto", None, data, online=True).root == data / "LibriSpeech"
    environment = {"LIBRISPEECH": str(variable)}
    assert choice("auto", None, data, environment=environment).root == variable
    assert choice("auto", given, data, environment=environment).root == given
    assert choice("embedded", None, data, environment=environment).source == "embedded"


def test_any_subset_names_will_do(tmp_path):
    root = make_corpus(tmp_path / "mine", ("a", "b", "c"))
    made = choice("auto", root, tmp_path, train="a", dev="b", test="c")
    assert (made.train, made.dev, made.test) == ("a", "b", "c")
    assert made.sentence.startswith(f"corpus: LibriSpeech in {root}, given by --librispeech")


def test_what_is_missing_is_said_with_what_is_there(tmp_path):
    root = make_corpus(tmp_path / "mine", ("train-clean-5", "dev-other", "test-clean"))
    with pytest.raises(UserError, match=r"no subset 'dev-clean-2'; subsets there: dev-other, .* with --dev"):
        choice("auto", root, tmp_path)
    with pytest.raises(UserError, match="--librispeech: there is no folder"):
        choice("auto", tmp_path / "nowhere", tmp_path)
    with pytest.raises(UserError, match=r"\$LIBRISPEECH: there is no folder"):
        choice("auto", None, tmp_path, environment={"LIBRISPEECH": str(tmp_path / "nowhere")})
    with pytest.raises(UserError, match="three different subsets"):
        choice("auto", root, tmp_path, dev="train-clean-5")
    with pytest.raises(UserError, match="contradict each other"):
        choice("embedded", root, tmp_path)
    with pytest.raises(UserError, match="subsets train, dev and test, not train-clean-5"):
        choice("embedded", None, tmp_path, train="train-clean-5")
    with pytest.raises(UserError, match="no network to download it"):
        choice("librispeech", None, tmp_path / "empty")
    with pytest.raises(UserError, match="only train-clean-5, dev-clean-2, test-clean can be downloaded"):
        choice("auto", None, tmp_path / "empty", train="train-clean-100", online=True)


def test_shared_speakers_are_seen_before_any_file_is_read(tmp_path):
    root = make_corpus(tmp_path / "mine")
    make_subset(root, "dev-with-1", "0")
    with pytest.raises(UserError, match=r"train-clean-5 and dev-with-1 share speakers \(0\)"):
        choice("auto", root, tmp_path, dev="dev-with-1")


def test_a_download_that_was_interrupted_is_gone_on_with(tmp_path, monkeypatch):
    root = choice("auto", None, tmp_path, online=True).root
    assert (root / DOWNLOAD_MARK).exists()
    make_subset(root, "train-clean-5", "0")
    again = choice("auto", None, tmp_path, online=True)
    assert "to be downloaded" in again.sentence
    assert "473 MB" in again.sentence
    fetched = []

    def fetch(folder, name):
        if not (folder / name).exists():
            fetched.append(name)
            make_subset(folder, name, str(len(fetched)))

    monkeypatch.setattr(librispeech, "download_subset", fetch)
    LibriSpeech(LibriSpeechSettings(root=str(root))).obtain()
    assert fetched == ["dev-clean-2", "test-clean"]
    assert "downloaded before" in choice("auto", None, tmp_path).sentence


def test_a_failed_download_falls_back_only_when_it_may(tmp_path, capsys):
    def fail(folder):
        raise UserError("cannot download the model")

    options = {"environment": {}, "reachable": lambda: True, "fetch_language_model": fail}
    assert choose_corpus("auto", None, tmp_path, **options).source == "embedded"
    assert "cannot download the model" in capsys.readouterr().err
    with pytest.raises(UserError, match="cannot download the model"):
        choose_corpus("librispeech", None, tmp_path, **options)


def test_a_downloaded_corpus_whose_language_model_cannot_be_fetched_is_still_used(tmp_path, capsys):
    root = make_corpus(tmp_path / "LibriSpeech")
    (root / DOWNLOAD_MARK).touch()

    def fail(folder):
        raise UserError("cannot download the model")

    made = choose_corpus("auto", None, tmp_path, environment={}, reachable=lambda: False, fetch_language_model=fail)
    assert (made.source, made.root, made.arpa) == ("librispeech", root, "")
    assert "a model is estimated from the training text" in capsys.readouterr().err


def test_a_corpus_of_the_user_s_own_is_only_checked(tmp_path):
    root = make_corpus(tmp_path / "mine", NAMES[:2])
    before = sorted(root.rglob("*"))
    with pytest.raises(UserError, match="no subset 'test-clean'"):
        LibriSpeech(LibriSpeechSettings(root=str(root))).obtain()
    assert sorted(root.rglob("*")) == before
