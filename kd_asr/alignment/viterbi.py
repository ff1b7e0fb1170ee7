"""Viterbi alignment: the best path of any matrix of log-likelihoods through a training graph."""

from __future__ import annotations

import kaldifst
import numpy as np
from kaldi_decoder import DecodableCtc, FasterDecoder, FasterDecoderOptions
from numpy.typing import NDArray

from kd_asr.alignment.graphs import TrainingGraph
from kd_asr.alignment.store import Alignment, PhoneSegment
from kd_asr.alignment.topology import STATES_PER_PHONE


def align_utterance(
    utterance_id: str,
    log_likelihoods: NDArray[np.float32],
    graph: TrainingGraph,
    *,
    beam: float,
    retry_beam: float,
) -> Alignment | None:
    """Align one utterance.

    Args:
        utterance_id: kept with the result.
        log_likelihoods: (frames, pdfs) float32, of a Gaussian mixture or of a network (log posterior - log prior).
        graph: of the transcript.
        beam: pruning beam, in units of `log_likelihoods`.
        retry_beam: tried when `beam` finds no path.

    Returns:
        The alignment, or None when there is no path at the widest beam either.
    """
    if len(log_likelihoods) < graph.shortest:
        return None
    decodable = DecodableCtc(np.ascontiguousarray(log_likelihoods))
    for width in (beam, retry_beam):
        decoder = FasterDecoder(graph.fst, FasterDecoderOptions(beam=width))
        decoder.decode(decodable)
        if decoder.reached_final():
            found, path = decoder.get_best_path()
            if found:
                return _read(utterance_id, path, graph)
    return None


def _read(utterance_id: str, path: kaldifst.Lattice, graph: TrainingGraph) -> Alignment:
    """Pdfs and phones of a linear lattice.

    The lattice gives pdfs and phones as two separate sequences. A phone passes through its states in order, and
    neighbouring states have different pdfs, so each phone is `STATES_PER_PHONE` runs of equal pdfs.
    """
    _, inputs, tokens, _ = kaldifst.get_linear_symbol_sequence(path)
    pdfs = np.asarray(inputs, dtype=np.int32) - 1
    runs = np.flatnonzero(np.diff(pdfs, prepend=-1))
    starts = runs[::STATES_PER_PHONE]
    if len(runs) != STATES_PER_PHONE * len(tokens):
        raise AssertionError(f"{utterance_id}: {len(runs)} state runs for {len(tokens)} phones")
    lengths = np.diff(starts, append=len(pdfs))
    segments = tuple(
        PhoneSegment(graph.phones[token - 1], int(start), int(length))
        for token, start, length in zip(tokens, starts, lengths, strict=True)
    )
    return Alignment(utterance_id, pdfs, segments)
