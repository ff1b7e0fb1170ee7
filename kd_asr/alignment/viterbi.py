"""Viterbi alignment: the best path through a training graph for a matrix of log-likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import kaldifst
import numpy as np
from kaldi_decoder import DecodableCtc, FasterDecoder, FasterDecoderOptions
from numpy.typing import NDArray

from kd_asr.alignment.graphs import TrainingGraph, training_graph
from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.settings import AlignSettings
from kd_asr.alignment.store import Alignment, PhoneSegment
from kd_asr.alignment.topology import STATES_PER_PHONE, Topology


@dataclass(frozen=True)
class BestPath:
    """The best path of one utterance through its graph.

    Attributes:
        pdfs: (frames,) int32 pdf of each frame.
        phones: Timed phones, which cover the frames without gaps.
        entered: (frames,) bool, whether the frame is the first in its state.
        log_probability: Log-probability of the path: frames, transitions, choice of pronunciations and silences.
        words: For each phone the place of its word in the transcript, -1 for silence.
    """

    pdfs: NDArray[np.int32]
    phones: tuple[PhoneSegment, ...]
    entered: NDArray[np.bool_]
    log_probability: float
    words: tuple[int, ...] = ()


def best_path(
    log_likelihoods: NDArray[np.float32], graph: TrainingGraph, *, beam: float, retry_beam: float
) -> BestPath | None:
    """Viterbi search.

    Args:
        log_likelihoods: (frames, pdfs) float32, of a Gaussian mixture or of a network (log posterior - log prior).
        graph: graph of the transcript.
        beam: pruning beam, in units of `log_likelihoods`.
        retry_beam: beam to try when `beam` finds no path.

    Returns:
        The path, or None if there is none within the wider beam either.
    """
    if len(log_likelihoods) < graph.shortest:
        return None
    decodable = DecodableCtc(np.ascontiguousarray(log_likelihoods))
    for width in (beam, retry_beam):
        decoder = FasterDecoder(graph.fst, FasterDecoderOptions(beam=width))
        decoder.decode(decodable)
        if decoder.reached_final():
            found, lattice = decoder.get_best_path()
            if found:
                return _read(lattice, graph)
    return None


def align_utterance(
    utterance_id: str,
    log_likelihoods: NDArray[np.float32],
    words: Sequence[str],
    lexicon: Lexicon,
    topology: Topology,
    *,
    settings: AlignSettings,
) -> Alignment | None:
    """Align one utterance with any matrix of log-likelihoods: a Gaussian mixture's or a network's.

    Args:
        utterance_id: id of the utterance, part of the result.
        log_likelihoods: (frames, pdfs) float32.
        words: the transcript.
        lexicon: pronunciations.
        topology: pdfs and loop probabilities.
        settings: beams and the probability of silence.

    Returns:
        The alignment, or None when the transcript does not fit into the frames or no path lies within the widest beam.
    """
    graph = training_graph(words, lexicon, topology, silence_probability=settings.silence_probability)
    path = best_path(log_likelihoods, graph, beam=settings.beam, retry_beam=settings.retry_beam)
    return None if path is None else Alignment(utterance_id, path.pdfs, path.phones)


def _read(lattice: kaldifst.Lattice, graph: TrainingGraph) -> BestPath:
    """Pdfs and phones of a linear lattice, which has two labels for every frame."""
    _, inputs, outputs, weight = kaldifst.get_linear_symbol_sequence(lattice)
    states = np.asarray(outputs, dtype=np.int32) - 1
    places = states // STATES_PER_PHONE
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    lengths = np.diff(starts, append=len(places))
    segments = tuple(
        PhoneSegment(graph.phones[places[start]], int(start), int(length))
        for start, length in zip(starts, lengths, strict=True)
    )
    return BestPath(
        np.asarray(inputs, dtype=np.int32) - 1,
        segments,
        np.diff(states, prepend=-1) != 0,
        -float(weight.value1 + weight.value2),
        tuple(graph.words[places[start]] for start in starts),
    )
