"""WER of any reference/hypothesis pair of text files, with its interval."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_asr.console import say
from kd_asr.errors import UserError
from kd_asr.evaluation.significance import CONFIDENCE, RESAMPLES, estimate_ratios
from kd_asr.evaluation.transcripts import TextFormat, TranscriptPair, read_pair
from kd_asr.evaluation.wer import AlignedWords, WordErrors, align_words, total_errors

_LISTED = 10  # missing or unused utterances named in a message; --json names all


@dataclass(frozen=True)
class Score:
    """What `score_files` found.

    Attributes:
        pair: the utterances as read, with the missing and the unused ones.
        total: errors of the set.
        interval: of the WER, as fractions, by the bootstrap over utterances.
        aligned: words side by side for each utterance, with its errors.
    """

    pair: TranscriptPair
    total: WordErrors
    interval: tuple[float, float]
    aligned: dict[str, AlignedWords]


def score_files(
    reference: Path,
    hypothesis: Path,
    *,
    text_format: TextFormat = "auto",
    ignore_case: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Score:
    """Score a hypothesis file against a reference file.

    An utterance without a hypothesis counts with all its words deleted; hypotheses of other utterances are not scored.

    Args:
        reference: text file, or folder with `*.trans.txt` below it; `read_pair` says how files are read.
        hypothesis: the same.
        text_format: `auto`, `ids` (utterance id, then words) or `plain` (line n against line n).
        ignore_case: compare in upper case; otherwise words are compared exactly.
        resamples: draws of the bootstrap.
        seed: of the draws.

    Raises:
        UserError: as `read_pair`; or the reference holds no words.
    """
    pair = read_pair(reference, hypothesis, text_format)
    aligned = {}
    for key, words in pair.references.items():
        found = pair.hypotheses[key]
        if ignore_case:
            words, found = tuple(map(str.upper, words)), tuple(map(str.upper, found))  # noqa: PLW2901
        aligned[key] = align_words(words, found)
    errors = [one.errors for one in aligned.values()]
    total = total_errors(errors)
    if not total.reference_words:
        raise UserError(f"{reference} holds no words: there is nothing to score against")
    (estimate,) = estimate_ratios(
        [[one.errors for one in errors]], [one.reference_words for one in errors], resamples=resamples, seed=seed
    )
    return Score(pair, total, estimate.interval(), aligned)


def score_as_json(result: Score) -> dict[str, Any]:
    """The figures as plain values; rates are fractions, a WER without reference words is null."""

    def figures(errors: WordErrors) -> dict[str, Any]:
        return {
            "wer": errors.wer if math.isfinite(errors.wer) else None,
            "errors": errors.errors,
            "substitutions": errors.substitutions,
            "deletions": errors.deletions,
            "insertions": errors.insertions,
            "reference_words": errors.reference_words,
        }

    return {
        **figures(result.total),
        "interval": list(result.interval),
        "confidence": CONFIDENCE,
        "format": result.pair.text_format,
        "utterances": len(result.aligned),
        "missing": list(result.pair.missing),
        "unused": list(result.pair.unused),
        "per_utterance": {
            key: {
                **figures(one.errors),
                "reference": " ".join(one.reference),
                "hypothesis": " ".join(one.hypothesis),
            }
            for key, one in result.aligned.items()
        },
    }


def score(
    reference: Path,
    hypothesis: Path,
    *,
    as_json: bool = False,
    text_format: TextFormat = "auto",
    ignore_case: bool = False,
) -> str:
    """`score_files` as text to print: one sentence, or JSON. Names on standard error what is missing or not scored."""
    result = score_files(reference, hypothesis, text_format=text_format, ignore_case=ignore_case)
    _say_listed("without a hypothesis, counted as deletions", result.pair.missing)
    _say_listed("in the hypothesis only, not scored", result.pair.unused)
    if as_json:
        return json.dumps(score_as_json(result), indent=2, ensure_ascii=False)
    total = result.total
    low, high = result.interval
    return (
        f"WER {100 * total.wer:.2f} % ({100 * CONFIDENCE:.0f} % interval {100 * low:.2f} to {100 * high:.2f}): "
        f"{total.errors} errors in {total.reference_words} words of {len(result.aligned)} utterances, "
        f"{total.substitutions} substitutions, {total.deletions} deletions, {total.insertions} insertions"
    )


def _say_listed(what: str, keys: tuple[str, ...]) -> None:
    if keys:
        more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
        say(f"{len(keys)} utterances {what}: {', '.join(keys[:_LISTED])}{more}")
