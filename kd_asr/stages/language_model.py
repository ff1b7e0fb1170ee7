"""Stage `language_model`: the n-gram model named in the settings, or one estimated from the training transcripts."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.console import say
from kd_asr.corpora.manifest import read_manifest
from kd_asr.decoding.arpa import ArpaModel, in_upper_case, perplexity, read_arpa, write_arpa
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.errors import UserError
from kd_asr.stages.lexicon import file_digest, given_arpa
from kd_asr.stages.settings import Settings

ARPA_FILES = ("lm.arpa", "lm.arpa.gz")


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

    Metrics: source, order, n-grams of each order; of dev perplexity (see `perplexity`) and rate of unknown words.

    Raises:
        UserError: the file is malformed, there is nothing to estimate from, or all words of dev are unknown.
    """
    prepared = load_artifact(run_dir, "prepare")
    order = settings.language_model.order
    given = given_arpa(settings)

    def sentences(name: str) -> Iterator[tuple[str, ...]]:
        return (utterance.words for utterance in read_manifest(prepared.path / f"{name}.jsonl"))

    def work(folder: Path) -> dict[str, Any]:
        if given is None:
            model = estimate_ngrams(sentences("train"), order)
            write_arpa(folder / "lm.arpa.gz", model)
        else:
            model = _copy_checked(given, folder, order)
        measured = perplexity(model, sentences("dev"))
        if measured.words and measured.unknown_words == measured.words:
            raise UserError(f"no word of dev is in the language model {given or 'of train'}: are they of one language?")
        ngrams = [len(section) for section in model.log_probabilities]
        say(
            f"language model: {model.order}-gram of {ngrams[0]} words, perplexity {measured.value:.1f} on dev "
            f"({100 * measured.unknown_rate:.1f} % of its words unknown)"
        )
        return {
            "source": f"given: {given.name}" if given is not None else "estimated from the transcripts of train",
            "order": model.order,
            "ngrams": {str(length): count for length, count in enumerate(ngrams, start=1)},
            # JSON has no infinity: a model that holds a word of dev for impossible has no perplexity.
            "dev_perplexity": round(measured.value, 2) if math.isfinite(measured.value) else None,
            "dev_words": measured.words,
            "dev_oov_words": measured.unknown_words,
            "dev_oov_rate": round(measured.unknown_rate, 5),
        }

    return build_artifact(
        run_dir,
        "language_model",
        code=__name__,
        settings={
            "order": order,
            "arpa": {"name": given.name, "content": file_digest(given)} if given is not None else None,
        },
        inputs=[prepared],
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
