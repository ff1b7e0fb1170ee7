"""C, the context transducer: from a graph of phones to one of phones in context, labelled by the pdfs of their states.

The composition is Kaldi's `fstcomposecontext`: a triphone is known when the phone to its right is read, so every label
moves one phone towards the end (M. Mohri, F. Pereira, M. Riley, "Weighted finite-state transducers in speech
recognition", Computer Speech and Language 16, 2002, section 3.2). Left biphones are known at once.
"""

from __future__ import annotations

import kaldifst
import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.topology import SILENCE, Topology
from kd_asr.decoding.fst_arrays import FstArrays, from_kaldifst, to_kaldifst
from kd_asr.sequence.topology import OneStateTopology

AnyTopology = Topology | OneStateTopology


def context_width(topology: AnyTopology) -> int:
    """Phones that decide the pdfs of one: 1, itself; 2, the one to its left as well; 3, both neighbours."""
    if topology.tree is None:
        return 1
    return 2 if isinstance(topology, OneStateTopology) else 3


def pdfs_of(topology: AnyTopology, left: str, phone: str, right: str) -> tuple[int, ...]:
    """Pdfs of a phone in context: of its three states; of the one-state topology that of its first output frame and
    that of its others."""
    if isinstance(topology, OneStateTopology):
        return topology.pdfs(phone, left)
    return topology.pdfs(phone, left, right)


def phone_chains(topology: AnyTopology, num_disambiguation: int) -> NDArray[np.int32]:
    """(labels, pdfs) int32: `pdfs_of` the label of each phone without context, rows of -1 for epsilon and
    disambiguation symbols."""
    found = [pdfs_of(topology, SILENCE, phone, SILENCE) for phone in topology.phones]
    none = [[-1] * len(found[0])]
    return np.array([*none, *found, *(none * num_disambiguation)], dtype=np.int32)


def compose_context(
    fst: FstArrays, topology: AnyTopology, num_disambiguation: int
) -> tuple[FstArrays, NDArray[np.int32]]:
    """min(det(C o fst)), with one label for all contexts of a phone in which its states have the same pdfs.

    Merging them before determinisation keeps the graph small. Phones that share all pdfs keep labels of their own,
    since words that differ in nothing else could not be told apart otherwise.

    Args:
        fst: deterministic; its input labels are phones, 1 to len(topology.phones), and disambiguation symbols above.
        topology: topology of tied states. Silence is the context before the first phone and after the last.
        num_disambiguation: number of disambiguation symbols.

    Returns:
        The transducer, and (labels, pdfs) int32: `pdfs_of` each of its input labels, rows of -1 for epsilon and
        disambiguation symbols.
    """
    width = context_width(topology)
    symbols = range(len(topology.phones) + 1, len(topology.phones) + 1 + num_disambiguation)
    composed, windows = kaldifst.compose_context(list(symbols), width, 1, to_kaldifst(fst))
    # A window is a phone in context, with 0 for no phone, or the single number of a symbol, 0 at the beginning of
    # sentences.
    is_phone = np.array([len(window) == width for window in windows])
    is_symbol = np.array([len(window) == 1 for window in windows])
    silence = 1 + topology.phones.index(SILENCE)
    phones = np.array([window for window in windows if len(window) == width], dtype=np.int64)
    name = topology.phones
    known = [
        (phone, *pdfs_of(topology, name[left], name[phone], name[right[0]] if right else SILENCE))
        for left, phone, *right in (np.where(phones == 0, silence, phones) - 1).tolist()
    ]
    rows = np.array(known, dtype=np.int64)
    distinct, distinct_of = np.unique(rows, axis=0, return_inverse=True)
    labels = np.zeros(len(windows), dtype=np.int32)
    labels[is_phone] = 1 + distinct_of.ravel()
    labels[is_symbol] = 1 + len(distinct) + np.arange(is_symbol.sum())
    chains = np.full((1 + len(distinct) + int(is_symbol.sum()), rows.shape[1] - 1), -1, dtype=np.int32)
    chains[1 : 1 + len(distinct)] = distinct[:, 1:]

    arrays = from_kaldifst(composed)
    arrays.arcs["ilabel"] = labels[arrays.arcs["ilabel"]]
    merged = to_kaldifst(arrays)
    kaldifst.determinize_star(merged, use_log=True)
    kaldifst.minimize_encoded(merged)
    return from_kaldifst(merged), chains
