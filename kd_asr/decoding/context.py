"""C, the context transducer: from a graph of phones to one of triphones, labelled by the pdfs of their states.

The composition is Kaldi's `fstcomposecontext`: a triphone is known when the phone to its right is read, so every label
moves one phone towards the end (M. Mohri, F. Pereira, M. Riley, "Weighted finite-state transducers in speech
recognition", Computer Speech and Language 16, 2002, section 3.2).
"""

from __future__ import annotations

import kaldifst
import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.topology import SILENCE, STATES_PER_PHONE, Topology
from kd_asr.decoding.fst_arrays import FstArrays, from_kaldifst, to_kaldifst


def compose_context(
    fst: FstArrays, topology: Topology, num_disambiguation: int
) -> tuple[FstArrays, NDArray[np.int32]]:
    """min(det(C o fst)), with one label for all triphones of a phone whose states have the same pdfs.

    Merging them before determinisation keeps the graph small. Phones that share all pdfs keep labels of their own,
    since words that differ in nothing else could not be told apart otherwise.

    Args:
        fst: deterministic; its input labels are phones, 1 to len(topology.phones), and disambiguation symbols above.
        topology: topology of tied states. Silence is the context before the first phone and after the last.
        num_disambiguation: number of disambiguation symbols.

    Returns:
        The transducer, and (labels, 3) int32: pdfs of each of its input labels, rows of -1 for epsilon and
        disambiguation symbols.
    """
    symbols = range(len(topology.phones) + 1, len(topology.phones) + 1 + num_disambiguation)
    composed, windows = kaldifst.compose_context(list(symbols), 3, 1, to_kaldifst(fst))
    # A window is a triphone, with 0 for no phone, or the single number of a symbol, 0 at the beginning of sentences.
    is_triphone = np.array([len(window) == 3 for window in windows])
    is_symbol = np.array([len(window) == 1 for window in windows])
    silence = 1 + topology.phones.index(SILENCE)
    triphones = np.array([window for window in windows if len(window) == 3], dtype=np.int64)
    name = topology.phones
    known = [
        (phone, *topology.pdfs(name[phone], name[left], name[right]))
        for left, phone, right in (np.where(triphones == 0, silence, triphones) - 1).tolist()
    ]
    rows = np.array(known, dtype=np.int64).reshape(-1, 1 + STATES_PER_PHONE)
    distinct, distinct_of = np.unique(rows, axis=0, return_inverse=True)
    labels = np.zeros(len(windows), dtype=np.int32)
    labels[is_triphone] = 1 + distinct_of.ravel()
    labels[is_symbol] = 1 + len(distinct) + np.arange(is_symbol.sum())
    chains = np.full((1 + len(distinct) + int(is_symbol.sum()), STATES_PER_PHONE), -1, dtype=np.int32)
    chains[1 : 1 + len(distinct)] = distinct[:, 1:]

    arrays = from_kaldifst(composed)
    arrays.arcs["ilabel"] = labels[arrays.arcs["ilabel"]]
    merged = to_kaldifst(arrays)
    kaldifst.determinize_star(merged, use_log=True)
    kaldifst.minimize_encoded(merged)
    return from_kaldifst(merged), chains
