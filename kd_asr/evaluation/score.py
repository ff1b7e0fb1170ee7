"""Word or character error rate of any reference/hypothesis pair of text files, with its interval."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_asr.console import say
from kd_asr.corpora.spelling import is_special, split_words
from kd_asr.errors import UserError
from kd_asr.evaluation.significance import CONFIDENCE, RESAMPLES, estimate_ratios
from kd_asr.evaluation.transcripts import READ_AS, TextFormat, TranscriptPair, read_pair
from kd_asr.evaluation.wer import AlignedWords, WordErrors, align_words, total_errors

_LISTED = 10  # missing or unused utterances named in a message; --json names all


@dataclass(frozen=True)
class Score:
    """What `score_files` found.

    Attributes:
        pair: the utterances as read, with the missing and the unused ones.
        unit: `words` or `characters`: what was counted.
        total: errors of the set.
        interval: of the error rate, as fractions, by the bootstrap over utterances.
        aligned: words or characters side by side for each utterance, with its errors.
    """

    pair: TranscriptPair
    unit: str
    total: WordErrors
    interval: tuple[float, float]
    aligned: dict[str, AlignedWords]


def score_files(
    reference: Path,
    hypothesis: Path,
    *,
    text_format: TextFormat = "auto",
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    characters: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Score:
    """Score a hypothesis file against a reference file.

    An utterance without a hypothesis counts with all its words deleted; hypotheses of other utterances are not scored.

    Args:
        reference: text file, or folder with `*.trans.txt` below it; `read_pair` says how files are read.
        hypothesis: the same.
        text_format: of both files, see `read_pair`.
        ignore_case: compare without regard to case; otherwise words are compared exactly, in Unicode NFC.
        ignore_punctuation: leave out all punctuation but apostrophes inside words, which are made one character;
            hyphens, dashes and slashes then part words. `<unk>` and other words in brackets stay as they are.
        characters: count characters instead of words, single spaces between words included.
        resamples: draws of the bootstrap.
        seed: of the draws.

    Raises:
        UserError: as `read_pair`; or the reference holds no words.
    """
    pair = read_pair(reference, hypothesis, text_format)
    aligned = {}
    for key, words in pair.references.items():
        sides = [
            _compared(side, ignore_case=ignore_case, ignore_punctuation=ignore_punctuation)
            for side in (words, pair.hypotheses[key])
        ]
        aligned[key] = align_words(*(tuple(" ".join(side)) if characters else side for side in sides))
    errors = [one.errors for one in aligned.values()]
    total = total_errors(errors)
    if not total.reference_words:
        raise UserError(f"{reference} holds no words: there is nothing to score against")
    (estimate,) = estimate_ratios(
        [[one.errors for one in errors]], [one.reference_words for one in errors], resamples=resamples, seed=seed
    )
    return Score(pair, "characters" if characters else "words", total, estimate.interval(), aligned)


def _compared(words: Sequence[str], *, ignore_case: bool, ignore_punctuation: bool) -> tuple[str, ...]:
    """The words of one side as they are compared."""
    if ignore_punctuation:
        words = [part for word in words for part in ([word] if is_special(word) else split_words(word))]
    return tuple(word.casefold() for word in words) if ignore_case else tuple(words)


def score_as_json(result: Score) -> dict[str, Any]:
    """The figures as plain values; rates are fractions, one without reference words is null.

    With `characters`, all figures are of characters, `wer` is `cer`, and `reference_words` is `reference_characters`.
    """
    rate = "wer" if result.unit == "words" else "cer"
    separator = " " if result.unit == "words" else ""

    def figures(errors: WordErrors) -> dict[str, Any]:
        return {
            rate: errors.wer if math.isfinite(errors.wer) else None,
            "errors": errors.errors,
            "substitutions": errors.substitutions,
            "deletions": errors.deletions,
            "insertions": errors.insertions,
            f"reference_{result.unit}": errors.reference_words,
        }

    return {
        **figures(result.total),
        "interval": list(result.interval),
        "confidence": CONFIDENCE,
        "reference_format": result.pair.reference_format,
        "hypothesis_format": result.pair.hypothesis_format,
        "utterances": len(result.aligned),
        "missing": list(result.pair.missing),
        "unused": list(result.pair.unused),
        "per_utterance": {
            key: {
                **figures(one.errors),
                "reference": separator.join(one.reference),
                "hypothesis": separator.join(one.hypothesis),
            }
            for key, one in result.aligned.items()
        },
    }


def score(reference: Path, hypothesis: Path, *, as_json: bool = False, **options: Any) -> str:
    """`score_files`, with its options, as text to print: two sentences, or JSON.

    Names on standard error what is missing or not scored.
    """
    result = score_files(reference, hypothesis, **options)
    _say_listed("without a hypothesis, counted as deletions", result.pair.missing)
    _say_listed("in the hypothesis only, not scored", result.pair.unused)
    if as_json:
        return json.dumps(score_as_json(result), indent=2, ensure_ascii=False)
    total = result.total
    low, high = result.interval
    return (
        f"{'WER' if result.unit == 'words' else 'CER'} {100 * total.wer:.2f} % "
        f"({100 * CONFIDENCE:.0f} % interval {100 * low:.2f} to {100 * high:.2f}): "
        f"{total.errors} errors in {total.reference_words} {result.unit} of {len(result.aligned)} utterances, "
        f"{total.substitutions} substitutions, {total.deletions} deletions, {total.insertions} insertions\n"
        f"reference read as {READ_AS[result.pair.reference_format]}, "
        f"hypothesis as {READ_AS[result.pair.hypothesis_format]}"
    )


def _say_listed(what: str, keys: tuple[str, ...]) -> None:
    if keys:
        more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
        say(f"{len(keys)} utterances {what}: {', '.join(keys[:_LISTED])}{more}")
