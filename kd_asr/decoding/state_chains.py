"""H: from a graph whose input labels are phones, with or without context, to one of HMM states with loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kd_asr.decoding.fst_arrays import FstArrays, make_arcs


def expand_to_states(
    fst: FstArrays,
    chains: NDArray[np.int32],
    self_loop: NDArray[np.float64],
    *,
    loop_pdfs: NDArray[np.int32] | None = None,
    self_loop_scale: float = 1.0,
) -> FstArrays:
    """Replace each input label by its chain of states, add the loops, and drop disambiguation symbols.

    Equivalent to Kaldi's H o CLG, `fstrmsymbols` and `add-self-loops --reorder=true`: the arc into a state consumes the
    state's first frame, its loop all others. All arcs with the same label into the same state share one chain, which
    ends in that state if no other arcs lead there, otherwise in an epsilon arc to it.

    Args:
        fst: graph, deterministic in its input labels.
        chains: (labels, states per chain) int32, pdfs of each label 0, 1, ...; rows of -1 for epsilon and
            disambiguation symbols, which become epsilon.
        self_loop: (pdfs,) float64, probability of staying in a state with a loop of this pdf, 0 < p < 1.
        loop_pdfs: pdfs of the states' loops, of the shape of `chains`; None: those of the states' first frames.
        self_loop_scale: weight of the costs of staying and leaving.

    Returns:
        A transducer from pdf + 1 to the output labels of `fst`.
    """
    stay, leave = -self_loop_scale * np.log(self_loop), -self_loop_scale * np.log1p(-self_loop)
    targets = fst.arcs["nextstate"].astype(np.int64)
    labels = fst.arcs["ilabel"].astype(np.int64)
    emitting = chains[labels, 0] >= 0
    length = chains.shape[1]

    # One chain for each pair of target and label.
    keys, chain_of_arc = np.unique(targets[emitting] * len(chains) + labels[emitting], return_inverse=True)
    chain_target, chain_pdfs = keys // len(chains), chains[keys % len(chains)]
    staying = chain_pdfs if loop_pdfs is None else loop_pdfs[keys % len(chains)]
    entries = np.bincount(chain_target, minlength=fst.num_states)
    entries += np.bincount(targets[~emitting], minlength=fst.num_states)
    entries[fst.start] += 1
    merged = entries[chain_target] == 1

    # Numbers of the chains' states: `fst`'s own first, then the new ones; a merged chain ends in its target.
    new_states = np.where(merged, length - 1, length)
    first = fst.num_states + np.cumsum(new_states) - new_states
    states = first[:, None] + np.arange(length)
    states[merged, -1] = chain_target[merged]
    num_states = fst.num_states + int(new_states.sum())

    # Cost of leaving each of `fst`'s states: where a chain ends in a state, its loop is left.
    leaving = np.zeros(fst.num_states)
    leaving[chain_target[merged]] = leave[staying[merged, -1]]

    own = fst.arcs.copy()
    own["weight"] += leaving[fst.sources].astype(np.float32)
    own["ilabel"] = 0
    own["ilabel"][emitting] = chain_pdfs[chain_of_arc, 0] + 1
    own["nextstate"][emitting] = states[chain_of_arc, 0]
    forward = [
        make_arcs(chain_pdfs[:, i + 1] + 1, 0, leave[staying[:, i]], states[:, i + 1]) for i in range(length - 1)
    ]
    loops = make_arcs((staying + 1).ravel(), 0, stay[staying.ravel()], states.ravel())
    exits = make_arcs(0, 0, leave[staying[~merged, -1]], chain_target[~merged])
    finals = np.full(num_states, np.inf, dtype=np.float32)
    finals[: fst.num_states] = fst.finals + leaving.astype(np.float32)
    sources = [states.ravel(), fst.sources, *(states[:, i] for i in range(length - 1)), states[~merged, -1]]
    return FstArrays(
        fst.start,
        finals,
        np.concatenate(sources).astype(np.int32),
        np.concatenate([loops, own, *forward, exits]),
    )
