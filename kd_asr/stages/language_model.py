"""Stage `language_model`: an n-gram model that was given, or one of the training transcripts."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.config import Settings
from kd_asr.console import say
from kd_asr.corpora.manifest import read_manifest
from kd_asr.decoding.arpa import ArpaModel, in_upper_case, perplexity, read_arpa, write_arpa
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.errors import UserError

ARPA_FILES = ("lm.arpa", "lm.arpa.gz")
# Of the text it was estimated from a model knows too much, and of the test set nothing is looked at before the end.
_MEASURED_ON = ("train", "dev")


def arpa_file(language_model: Artifact) -> Path:
    """The model that the stage wrote: plain or gzipped."""
    for name in ARPA_FILES:
        if (language_model.path / name).is_file():
            return language_model.path / name
    raise UserError(f"{language_model.path} holds no {' or '.join(ARPA_FILES)}: delete it and run the stage again")


def language_model(run_dir: Path, settings: Settings) -> Artifact:
    """Write `lm.arpa` or `lm.arpa.gz` into `language_model/`.

    A file of the settings is checked to its end and copied as it is, so that the run needs nothing from outside. It is
    written anew, as `lm.arpa.gz`, only where it has n-grams longer than `language_model.order` (they are cut off) or
    words that are not in upper case. Its words that the lexicon lacks stay; the stage `graph` leaves them out. Without
    a file, a modified Kneser-Ney model is estimated from the transcripts of the training set.

    Raises:
        UserError: the file is malformed, or there is nothing to estimate from.
    """
    prepared = load_artifact(run_dir, "prepare")
    order = settings.language_model.order
    given = Path(settings.language_model.arpa) if settings.language_model.arpa else None

    def sentences(name: str) -> Iterator[tuple[str, ...]]:
        return (utterance.words for utterance in read_manifest(prepared.path / f"{name}.jsonl"))

    def work(folder: Path) -> dict[str, Any]:
        if given is None:
            model = estimate_ngrams(sentences("train"), order)
            write_arpa(folder / "lm.arpa.gz", model)
        else:
            model = _copy_checked(given, folder, order)
        measured = {name: perplexity(model, sentences(name)) for name in _MEASURED_ON}
        metrics: dict[str, Any] = {
            "source": "given" if given is not None else "estimated from the transcripts of train",
            "order": model.order,
            "ngrams": [len(section) for section in model.log_probabilities],
        }
        for name, figure in measured.items():
            metrics[name] = {
                "perplexity": round(figure.value, 2),
                "words": figure.words,
                "out_of_vocabulary_words": figure.unknown_words,
                "out_of_vocabulary_rate": round(figure.unknown_rate, 5),
            }
        dev = measured["dev"]
        say(
            f"language_model: {model.order}-gram of {metrics['ngrams'][0]} words, perplexity {dev.value:.1f} on dev "
            f"({100 * dev.unknown_rate:.1f} % of its words unknown)"
        )
        return metrics

    return build_artifact(
        run_dir,
        "language_model",
        stage="language_model",
        settings={"order": order, "arpa": _checksum(given) if given is not None else None},
        inputs=[prepared],
        rooms=("corpora", "decoding"),
        work=work,
    )


def _copy_checked(given: Path, folder: Path, order: int) -> ArpaModel:
    """Read a model and put it into `folder`: the very file if nothing of it changes."""
    whole = read_arpa(given)
    model = in_upper_case(whole.cut(order))
    if model is whole:
        shutil.copyfile(given, folder / ("lm.arpa.gz" if given.suffix == ".gz" else "lm.arpa"))
    else:
        write_arpa(folder / "lm.arpa.gz", model)
    return model


def _checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, 16 hexadecimal digits."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()[:16]
