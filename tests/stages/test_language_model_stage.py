"""The language model of a run: given, cut, respelt or estimated."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_prepared

from kd_asr.decoding.arpa import read_arpa
from kd_asr.decoding.settings import LanguageModelSettings
from kd_asr.errors import UserError
from kd_asr.stages.language_model import arpa_file, language_model
from kd_asr.stages.settings import Settings

ARPA = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-99\t<s>\t-0.2
-0.5\t</s>
-1\t<unk>
-0.3\tONE\t-0.1
-0.4\tFOUR

\\2-grams:
-0.1\t<s> ONE

\\end\\
"""


@pytest.fixture
def prepared(run_dir, utterances) -> None:
    """Every utterance says ONE TWO."""
    make_prepared(run_dir, utterances)


def given(settings: Settings, path: Path, content: str | bytes, *, order: int = 3) -> Settings:
    """The settings with a language model of this content."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return replace(settings, language_model=LanguageModelSettings(arpa=str(path), order=order))


@pytest.mark.parametrize("name", ["lm.arpa", "my.arpa.gz"])
def test_a_given_file_is_written_anew(run_dir, settings, prepared, tmp_path, name) -> None:
    content = ARPA.replace("\n", "\r\n").encode()
    made = language_model(
        run_dir, given(settings, tmp_path / name, gzip.compress(content) if ".gz" in name else content)
    )
    assert b"\r" not in gzip.decompress(arpa_file(made).read_bytes())
    assert read_arpa(arpa_file(made)) == read_arpa(tmp_path / name)
    # Of ONE TWO </s>: -0.1, unknown, -0.5 without history; four times.
    assert made.metrics == {
        "source": f"given: {name}",
        "order": 2,
        "left_out_words": 0,
        "ngrams": {"1": 5, "2": 1},
        "dev_perplexity": round(10 ** (0.6 / 2), 2),
        "dev_words": 8,
        "dev_oov_words": 4,
        "dev_oov_rate": 0.5,
    }


def test_words_that_are_left_out_are_listed(run_dir, settings, prepared, tmp_path, capsys) -> None:
    made = language_model(run_dir, given(settings, tmp_path / "lm.arpa", ARPA.replace("FOUR", "C#(2)")))
    assert (made.path / "left_out.txt").read_text() == "C#(2)\n"
    assert (made.metrics["left_out_words"], made.metrics["ngrams"]["1"]) == (1, 4)
    assert "1 words left out that no transcript can hold (C#(2))" in capsys.readouterr().err


def test_longer_ngrams_are_cut_off(run_dir, settings, prepared, tmp_path) -> None:
    made = language_model(run_dir, given(settings, tmp_path / "lm.arpa", ARPA, order=1))
    assert made.metrics["ngrams"] == {"1": 5}
    model = read_arpa(arpa_file(made))
    assert (model.order, model.backoffs) == (1, {})


def test_words_are_made_upper_case(run_dir, settings, prepared, tmp_path) -> None:
    made = language_model(run_dir, given(settings, tmp_path / "lm.arpa", ARPA.replace("ONE", "one")))
    assert made.metrics["dev_oov_rate"] == 0.5
    assert "<s> ONE" in read_arpa(arpa_file(made)).log_probabilities[1]


def test_a_changed_file_is_read_again(run_dir, settings, prepared, tmp_path) -> None:
    first = language_model(run_dir, given(settings, tmp_path / "lm.arpa", ARPA))
    again = language_model(run_dir, given(settings, tmp_path / "lm.arpa", ARPA))
    assert again.fingerprint == first.fingerprint
    changed = language_model(run_dir, given(settings, tmp_path / "lm.arpa", ARPA.replace("FOUR", "TWO")))
    assert changed.fingerprint != first.fingerprint
    assert changed.metrics["dev_oov_rate"] == 0


def test_estimated_from_train(run_dir, settings, prepared) -> None:
    made = language_model(run_dir, settings)
    assert made.metrics["source"] == "estimated from the transcripts of train"
    assert made.metrics["order"] == 3
    assert made.metrics["dev_oov_rate"] == 0
    assert 1 < made.metrics["dev_perplexity"] < 2
    assert set(read_arpa(arpa_file(made)).log_probabilities[0]) == {"<s>", "</s>", "<unk>", "ONE", "TWO"}
    first = arpa_file(made).read_bytes()
    (run_dir / "language_model" / "manifest.json").unlink()
    assert arpa_file(language_model(run_dir, settings)).read_bytes() == first


def test_impossible_words_leave_no_perplexity(run_dir, settings, prepared, tmp_path) -> None:
    content = ARPA.replace("-0.5\t</s>", "-inf\t</s>")
    assert language_model(run_dir, given(settings, tmp_path / "lm.arpa", content)).metrics["dev_perplexity"] is None


def test_errors_name_the_file(run_dir, settings, prepared, tmp_path) -> None:
    path = tmp_path / "my.arpa.gz"
    with pytest.raises(UserError, match=r"my\.arpa\.gz, after line \d+: the gzip file is cut short"):
        language_model(run_dir, given(settings, path, gzip.compress(ARPA.encode())[:-20]))
    with pytest.raises(UserError, match=r"no word of dev .*my\.arpa\.gz"):
        language_model(run_dir, given(settings, path, gzip.compress(ARPA.replace("ONE", "UN").encode())))
    assert not (run_dir / "language_model").exists()
    with pytest.raises(UserError, match="is missing: delete"):
        arpa_file(replace(language_model(run_dir, settings), path=tmp_path))
