"""The corpus of a run, as options, flags and files name it."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from kd_asr.cli import main
from kd_asr.registry import Named, named
from kd_asr.stages.settings import load_settings

OWN_CORPUS = '''
from dataclasses import dataclass
from pathlib import Path

from kd_asr.corpora.base import Corpus, ListedUtterance, Listing, SetsSettings


@dataclass(frozen=True)
class TrivialSettings(SetsSettings):
    """Folders of files that all say one word.

    Attributes:
        word: What is said.
    """

    word: str = "one"


class Trivial(Corpus):
    """Files that all say the same."""

    Settings = TrivialSettings

    def listing(self, set_name):
        folder = Path(getattr(self.settings, set_name))
        text = self.settings.word
        return Listing(str(folder), [
            ListedUtterance(path.stem, path.stem[0], str(path), text) for path in sorted(folder.glob("*.wav"))
        ])
'''


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """A working directory with three folders of speech, a.wav and a.txt, and nothing that names a corpus."""
    monkeypatch.delenv("LIBRISPEECH", raising=False)
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("train", "dev", "test")):
        folder = tmp_path / "mine" / name / f"speaker-{number}"
        folder.mkdir(parents=True)
        soundfile.write(folder / "a.wav", [0.1] * 16000, 16000)
        (folder / "a.txt").write_text("hello\n")
    return Path(tmp_path)


def configured(*arguments: str) -> Named:
    assert main(["configure", "run", *arguments]) == 0
    return load_settings(Path("run")).corpus


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["configure", "refused", *arguments]) == 2
    assert not Path("refused").exists()
    text = capsys.readouterr().err
    assert len(text.strip().splitlines()) == 1
    return " ".join(text.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--corpus", "folder", "--train", "mine/train", "--dev", "mine/dev", "--test", "mine/test"],
        ["--corpus", "folder", *(f"--corpus.folder.{name}=mine/{name}" for name in ("train", "dev", "test"))],
        [f"--corpus.folder.{name}=mine/{name}" for name in ("train", "dev", "test")],
        ["--preset", "mine.yaml", "--test", "mine/test"],
        ["--preset", "tiny", "--corpus=folder", "--train=mine/train", "--dev=mine/dev", "--test=mine/test"],
    ],
)
def test_a_corpus_is_named_by_option_flag_or_file(arguments: list[str], here, capsys) -> None:
    Path("mine.yaml").write_text("corpus: {folder: {train: mine/train, dev: mine/dev}}\n")
    found = configured(*arguments)
    assert found.name == "folder"
    assert (found.settings.train, found.settings.test) == (str(here / "mine" / "train"), str(here / "mine" / "test"))
    told = " ".join(capsys.readouterr().err.split())
    assert "corpus: mine (train train, dev dev, test test), read as folder" in told


def test_a_class_of_ones_own_is_named_by_its_import_path(here, monkeypatch) -> None:
    Path("mine/own.py").write_text(OWN_CORPUS)
    monkeypatch.syspath_prepend(str(here / "mine"))
    name = "own:Trivial"
    folder = str(here / "mine" / "train" / "speaker-0")
    found = configured("--corpus", name, "--train", "mine/train/speaker-0", f"--corpus.{name}.word=two")
    assert (found.name, found.settings.train, found.settings.word) == (name, folder, "two")


def test_a_preset_says_how_the_embedded_corpus_is_made_and_a_file_of_ones_own_that_it_is_used(here) -> None:
    found = configured("--preset", "tiny", "--corpus", "embedded")
    miniature = Named(
        "corpus", "embedded", type(found.settings)(str(here / "data" / "embedded_miniature"), "miniature")
    )
    assert found == miniature
    Path("mine.yaml").write_text("corpus: {embedded: {size: miniature}}\n")
    assert configured("--preset", "mine.yaml") == miniature
    full = configured("--corpus", "embedded", "--corpus.embedded.seed=4").settings
    assert (full.root, full.size, full.seed) == (str(here / "data" / "embedded"), "full", 4)


def test_librispeech_may_be_given_as_settings(here) -> None:
    for name in ("train", "dev", "test"):
        speaker = next((here / "mine" / name).iterdir())
        (speaker / "1").mkdir()
        (speaker / "a.wav").rename(speaker / "1" / "s-1-0000.wav")
        (speaker / "1" / "s-1.trans.txt").write_text("s-1-0000 HELLO\n")
    corpus = {"root": "mine", "train": "train", "dev": "dev", "test": "test", "name": "My speech"}
    flags = [f"--corpus.librispeech.{key}={value}" for key, value in corpus.items()]
    expected = {**corpus, "root": str(here / "mine")}
    cls = type(named("corpus", "librispeech").settings)
    assert configured(*flags).settings == cls(**expected)
    options = ["--librispeech", "mine", "--train=train", "--dev=dev", "--test=test"]
    assert configured("--preset", "tiny", *options).settings == cls(**{**expected, "name": "LibriSpeech"})


def test_what_contradicts_is_refused(here, capsys) -> None:
    assert "--corpus folder and --corpus.kaldi contradict each other" in refused(
        capsys, "--corpus", "folder", "--corpus.kaldi.train=mine/train"
    )
    assert "--librispeech and the corpus folder contradict each other" in refused(
        capsys, "--corpus", "folder", "--librispeech", "mine"
    )
    assert "unknown setting 'corpus.embedded.train'" in refused(capsys, "--corpus.embedded.train=x")
    assert "the embedded corpus has the subsets train, dev and test, not x" in refused(
        capsys, "--corpus", "embedded", "--train", "x"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpus", "folder"], "corpus.folder.train is empty: name the speech to train on, with --train"),
        (["--corpus", "folder", "--train", "nowhere"], "there is no folder"),
        (["--corpus", "kaldi", "--train", "mine/train"], "is no Kaldi data folder: there is no wav.scp in it"),
        (["--corpus", "table", "--train", "mine/train"], "is a folder without metadata.csv"),
        (["--corpus", "foldr"], "there is no corpus 'foldr', do you mean 'folder'?"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(arguments: list[str], message: str, capsys) -> None:
    assert message in refused(capsys, *arguments)


def test_the_run_folder_is_called_after_the_corpus(monkeypatch) -> None:
    from kd_asr.cli import stages

    monkeypatch.setattr(stages, "make", lambda name, run_dir, settings: None)
    sets = ["--train", "mine/train", "--dev", "mine/dev", "--test", "mine/test"]
    for arguments in (
        ["--corpus", "folder", *sets],
        [f"--corpus.folder.{key[2:]}={value}" for key, value in zip(sets[::2], sets[1::2], strict=True)],
    ):
        assert main(["run", "speech", "--preset", "tiny", *arguments]) == 0
        assert load_settings(Path("exp/folder_tiny")).corpus.name == "folder"
