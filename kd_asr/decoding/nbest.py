"""The best word sequences of an utterance, from the lattice of its search, and rescoring with a language model."""

from __future__ import annotations

import math
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np

from kd_asr.decoding.arpa import BEGIN, END, ArpaModel
from kd_asr.decoding.fst_arrays import FstArrays, make_arcs, to_kaldifst
from kd_asr.errors import UserError

# OpenFst's file of a lattice: after the two names version, flags and properties; start, states and arcs; then each
# state with its final costs, the number of its arcs, and these.
_BEFORE_START = struct.calcsize("<iiQ")
_STATE = struct.Struct("<ffq")
_LATTICE_ARC = np.dtype(
    [("ilabel", "<i4"), ("olabel", "<i4"), ("graph", "<f4"), ("acoustic", "<f4"), ("nextstate", "<i4")]
)


@dataclass(frozen=True)
class Alternative:
    """A word sequence.

    Attributes:
        words: The words.
        cost: Cost of the best path: graph, insertion penalties and scaled acoustic cost, in nats.
    """

    words: tuple[str, ...]
    cost: float


def alternatives_of(lattice: kaldifst.Lattice, names: Sequence[str], count: int) -> list[Alternative]:
    """The `count` cheapest word sequences, all different, the cheapest first; fewer where the lattice has fewer.

    Args:
        lattice: raw lattice, states in order of time; its output labels are words.
        names: words by label.
        count: largest number of sequences.
    """
    acceptor = _word_acceptor(lattice)
    if acceptor is None:
        return []
    # After determinisation every word sequence is a single path, with the cost of its cheapest one.
    kaldifst.determinize_star(acceptor)
    found = []
    for path in kaldifst.convert_nbest_to_vector(kaldifst.shortest_path(acceptor, n=count)):
        _, _, labels, weight = kaldifst.get_linear_symbol_sequence(path)
        found.append(Alternative(tuple(names[label] for label in labels), weight.value))
    return sorted(found, key=lambda one: one.cost)


def _word_acceptor(lattice: kaldifst.Lattice) -> kaldifst.StdVectorFst | None:
    """The lattice as an acceptor of words, its two costs added; None for one without states.

    By way of the file that OpenFst writes: arc by arc, or from its text, takes ten times as long.
    """
    with tempfile.TemporaryDirectory(prefix="kd-asr-") as folder:
        path = Path(folder) / "lattice.fst"
        if not lattice.write(str(path)):
            raise UserError(f"cannot write {path}: there is no room in the folder for temporary files (TMPDIR)")
        data = path.read_bytes()
    at = 4
    for _ in ("kind of transducer", "kind of arcs"):
        at += 4 + struct.unpack_from("<i", data, at)[0]
    start, num_states, _ = struct.unpack_from("<qqq", data, at + _BEFORE_START)
    at += _BEFORE_START + 3 * 8
    if not num_states:
        return None
    finals = np.empty((num_states, 2), dtype=np.float32)
    counts = np.empty(num_states, dtype=np.int64)
    parts = []
    for state in range(num_states):
        *finals[state], count = _STATE.unpack_from(data, at)
        counts[state] = count
        at += _STATE.size
        parts.append(data[at : at + count * _LATTICE_ARC.itemsize])
        at += count * _LATTICE_ARC.itemsize
    arcs = np.frombuffer(b"".join(parts), dtype=_LATTICE_ARC)
    words, sources = arcs["olabel"], np.repeat(np.arange(num_states, dtype=np.int32), counts)
    costs = arcs["graph"] + arcs["acoustic"]
    return to_kaldifst(FstArrays(start, finals.sum(axis=1), sources, make_arcs(words, words, costs, arcs["nextstate"])))


def sentence_cost(model: ArpaModel, words: Sequence[str], *, instead: ArpaModel | None = None) -> float:
    """-log p of a sentence with its end, in nats.

    Args:
        model: language model.
        words: the sentence.
        instead: model for words that `model` lacks; without it such a word is an error.

    Raises:
        KeyError: a word is in neither model.
    """
    history = [BEGIN]
    total = 0.0
    for word in (*words, END):
        speaks = model if instead is None or word in model.log_probabilities[0] else instead
        total += speaks.log10_probability(word, history)
        history.append(word)
    return -total * math.log(10.0)


def rescored(
    alternatives: Sequence[Alternative], old: ArpaModel, new: ArpaModel, weight: float
) -> list[Alternative]:
    """The sequences with a share of the language model's cost replaced by another model's, the cheapest first.

    Args:
        alternatives: sequences with costs in which the model `old` has weight 1.
        old: language model of the decoding graph.
        new: another model, usually larger; words that it lacks keep the old model's probability.
        weight: weight of the new model, 0..1; the old model has 1 - `weight`.
    """
    if weight == 0.0:
        return list(alternatives)
    moved = [
        Alternative(
            one.words,
            one.cost + weight * (sentence_cost(new, one.words, instead=old) - sentence_cost(old, one.words)),
        )
        for one in alternatives
    ]
    return sorted(moved, key=lambda one: one.cost)
