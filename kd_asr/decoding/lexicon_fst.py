"""L, the transducer from phones to words, with the disambiguation symbols that make L o G determinisable.

M. Mohri, F. Pereira, M. Riley, "Weighted finite-state transducers in speech recognition", Computer Speech and
Language 16 (2002), section 3.1; optional silence as in Kaldi's `make_lexicon_fst.py --sil-disambig`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from kd_asr.alignment.topology import SILENCE
from kd_asr.decoding.fst_arrays import FstArrays, make_arcs

# A word, its phones, and the cost of this choice among its variants.
Entry = tuple[str, tuple[str, ...], float]


def disambiguated(entries: Sequence[Entry]) -> tuple[list[int], int]:
    """Number k of the symbol `#k` at the end of each pronunciation, 0 for none, and the highest number used.

    A pronunciation needs a symbol if it is also that of another word, or the beginning of another pronunciation.
    """
    copies = Counter(phones for _, phones, _ in entries)
    beginnings = {phones[:length] for phones in copies for length in range(1, len(phones))}
    used: Counter[tuple[str, ...]] = Counter()
    numbers = []
    for _, phones, _ in entries:
        if copies[phones] > 1 or phones in beginnings:
            used[phones] += 1
        numbers.append(used[phones])
    return numbers, max(numbers, default=0)


def lexicon_fst(
    entries: Sequence[Entry],
    *,
    phones: Mapping[str, int],
    words: Mapping[str, int],
    silence_probability: float,
) -> tuple[FstArrays, int]:
    """L, from phones to any number of words, with optional silence at the beginning and after each word.

    Args:
        entries: pronunciations.
        phones: label of each phone, 1 to len(phones). Disambiguation symbols get the labels above: `#0`, which loops
            where a word may begin and carries the grammar's `#0`, len(phones) + 1; `#k` len(phones) + 1 + k.
        words: label of each word, and of `#0`.
        silence_probability: probability of silence at each place where it is optional, 0 < p < 1.

    Returns:
        L, and the number of disambiguation symbols.
    """
    numbers, highest = disambiguated(entries)
    disambiguation = len(phones) + 1
    after_silence = disambiguation + highest + 1
    silent, not_silent = -math.log(silence_probability), -math.log1p(-silence_probability)
    start, between, in_silence, ending_silence = range(4)
    rows: list[tuple[int, int, int, float, int]] = [
        (start, 0, 0, not_silent, between),
        (start, 0, 0, silent, in_silence),
        (in_silence, phones[SILENCE], 0, 0.0, ending_silence),
        (ending_silence, after_silence, 0, 0.0, between),
        (between, disambiguation, words["#0"], 0.0, between),
    ]
    states = 4
    for (word, pronunciation, cost), number in zip(entries, numbers, strict=True):
        labels = [phones[phone] for phone in pronunciation] + ([disambiguation + number] if number else [])
        state, written = between, words[word]
        left = cost
        for label in labels[:-1]:
            rows.append((state, label, written, left, states))
            state, written, left = states, 0, 0.0
            states += 1
        rows.append((state, labels[-1], written, left + not_silent, between))
        rows.append((state, labels[-1], written, left + silent, in_silence))
    finals = np.full(states, np.inf, dtype=np.float32)
    finals[between] = 0.0
    source, ilabel, olabel, weight, nextstate = zip(*rows, strict=True)
    arcs = make_arcs(
        np.array(ilabel, np.int32),
        np.array(olabel, np.int32),
        np.array(weight, np.float32),
        np.array(nextstate, np.int32),
    )
    return FstArrays(start, finals, np.array(source, dtype=np.int32), arcs), highest + 2
