"""Stage `language_model`: the n-gram model of the run, given as an ARPA file or estimated from the training text."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.config import Settings
from kd_asr.console import say
from kd_asr.corpora.manifest import read_manifest
from kd_asr.decoding.arpa import ArpaModel, Perplexity, perplexity, read_arpa, write_arpa
from kd_asr.decoding.ngram import estimate
from kd_asr.errors import UserError
from kd_asr.stages.lexicon import file_digest, given_arpa

ARPA_FILE = "lm.arpa.gz"


def language_model(run_dir: Path, settings: Settings) -> Artifact:
    """Make `lm.arpa.gz` and measure it on dev.

    A file given is checked from its first to its last line, and cut to `language_model.order`. If it is gzipped and
    has nothing to cut, its bytes are copied; a run folder does not depend on files outside of it. With none given, an
    interpolated modified Kneser-Ney model of that order is estimated from the transcripts of train.

    Metrics: source, order, n-grams of each order, and of dev: perplexity (ends of sentences included, unknown words
    left out) and the rate of unknown words.

    Raises:
        UserError: the file is malformed (its line is named), or knows no word of dev.
    """
    prepared = load_artifact(run_dir, "prepare")
    arpa = given_arpa(settings)
    order = settings.language_model.order

    def work(folder: Path) -> dict[str, Any]:
        dev = [item.words for item in read_manifest(prepared.path / "dev.jsonl")]
        target = folder / ARPA_FILE
        if arpa is not None:
            say(f"language model: reading {arpa}")
            whole = read_arpa(arpa)
            model, source = whole.cut(order), f"given: {arpa.name}"
            if model is whole and arpa.suffix == ".gz":
                shutil.copyfile(arpa, target)
            else:
                write_arpa(target, model)
        else:
            model = estimate((item.words for item in read_manifest(prepared.path / "train.jsonl")), order)
            source = "estimated"
            write_arpa(target, model)
        measured = perplexity(model, dev)
        if measured.words and measured.unknown_words == measured.words:
            raise UserError(
                f"no word of dev is in the language model ({source}): its words must be spelt as the transcripts are, "
                "in upper case"
            )
        say(
            f"language model ({source}): {_sizes(model)}; dev perplexity {measured.value:.1f}, "
            f"unknown words {100 * measured.unknown_rate:.1f} %"
        )
        return _metrics(source, model, measured)

    return build_artifact(
        run_dir,
        "language_model",
        stage="language_model",
        settings={"arpa": "" if arpa is None else {"name": arpa.name, "content": file_digest(arpa)}, "order": order},
        inputs=[prepared],
        rooms=("decoding",),
        shared=("lexicon",),
        work=work,
    )


def _sizes(model: ArpaModel) -> str:
    return ", ".join(f"{len(section):,} {order}-grams" for order, section in enumerate(model.log_probabilities, start=1))


def _metrics(source: str, model: ArpaModel, measured: Perplexity) -> dict[str, Any]:
    return {
        "source": source,
        "order": model.order,
        "ngrams": {str(order): len(section) for order, section in enumerate(model.log_probabilities, start=1)},
        # JSON has no infinity: a model under which dev is impossible has no perplexity.
        "dev_perplexity": round(measured.value, 2) if math.isfinite(measured.value) else None,
        "dev_oov_rate": round(measured.unknown_rate, 5),
        "dev_tokens": measured.tokens,
    }
