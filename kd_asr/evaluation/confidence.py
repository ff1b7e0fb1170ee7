"""Confidence of recognised words, from the alternatives of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kd_asr.decoding.nbest import Alternative
from kd_asr.evaluation.wer import GAP, align_words


def word_confidences(alternatives: Sequence[Alternative]) -> list[float]:
    """Posterior probability of each word of the cheapest alternative, 0..1.

    An alternative has the probability exp(-cost), normalised over all that were found; a word has the sum of the
    probabilities of the alternatives that contain it at its place, by the alignment with the fewest errors (Stolcke,
    Koenig and Weintraub 1997 align all with all).

    Args:
        alternatives: alternatives of one utterance, the cheapest first.
    """
    if not alternatives:
        return []
    best = alternatives[0]
    weights = [math.exp(best.cost - one.cost) for one in alternatives]
    sums = [0.0] * len(best.words)
    for one, weight in zip(alternatives, weights, strict=True):
        aligned = align_words(best.words, one.words)
        place = 0
        for word, other in zip(aligned.reference, aligned.hypothesis, strict=True):
            if word != GAP:
                sums[place] += weight if word == other else 0.0
                place += 1
    return [one / sum(weights) for one in sums]
