"""Stage `language_model`: the n-gram model named in the settings, or one estimated from the training transcripts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.console import say
from kd_asr.corpora.manifest import read_manifest
from kd_asr.corpora.spelling import is_special
from kd_asr.decoding.arpa import perplexity, read_arpa, respell, write_arpa
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.errors import UserError
from kd_asr.stages.lexicon import content_of, given_arpa, gone
from kd_asr.stages.settings import Settings

ARPA_FILE = "lm.arpa.gz"


def arpa_file(language_model: Artifact) -> Path:
    """The model that the stage wrote."""
    path = language_model.path / ARPA_FILE
    if not path.is_file():
        raise UserError(f"{path} is missing: delete {language_model.path} and run the stage again")
    return path


def language_model(run_dir: Path, settings: Settings) -> Artifact:
    """Write `lm.arpa` or `lm.arpa.gz` into `language_model/`.

    A file of the settings is checked to its end and written anew, so that the run needs nothing from outside and what
    reads it next finds nothing else: n-grams longer than `language_model.order` are cut off, words are spelt as those
    of transcripts, and words that no transcript can hold are left out and listed in `left_out.txt`. Its words that the
    lexicon lacks stay; the stage `graph` leaves them out. Without a file, a modified Kneser-Ney model is estimated from
    the transcripts of the training set.

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
        left_out: list[str] = []
        if given is not None and not given.is_file():
            raise gone(given)
        if given is None:
            model = estimate_ngrams(sentences("train"), order)
        else:
            model, left_out = respell(read_arpa(given).cut(order), settings.spelling)
            (folder / "left_out.txt").write_text("".join(f"{word}\n" for word in left_out), encoding="utf-8")
            _say_left_out([word for word in left_out if not is_special(word, settings.spelling)])
        write_arpa(folder / ARPA_FILE, model)
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
            "left_out_words": len(left_out),
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
            **decides(settings),
            "arpa": {"name": given.name, "content": content_of(given, run_dir, "language_model", "arpa", "content")}
            if given is not None
            else None,
        },
        inputs=[prepared],
        work=work,
    )


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact, besides the content of the file."""
    return {"language_model.order": settings.language_model.order, "spelling": settings.spelling}


def _say_left_out(words: Sequence[str]) -> None:
    if words:
        shown = ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
        say(f"language model: {len(words)} words left out that no transcript can hold ({shown}): left_out.txt")
