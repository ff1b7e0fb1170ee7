"""Beam search of speech that is still going on, and where an utterance ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np
from kaldi_decoder import DecodableCtc, FasterDecoder, FasterDecoderOptions
from numpy.typing import NDArray

from kd_asr.alignment.topology import SILENCE, Topology
from kd_asr.alignment.tree import leaves
from kd_asr.decoding.decoder import Search
from kd_asr.decoding.graph import WORDS_FILE, read_words

_MIN_ACTIVE = 20


@dataclass(frozen=True)
class PathSoFar:
    """The best path of an utterance up to now.

    Attributes:
        words: recognised words.
        pdfs: (frames,) pdf of each frame.
        relative_cost: cost of the best path that ends where a sentence may end, above that of the best one; infinite if
            there is none.
    """

    words: tuple[str, ...]
    pdfs: NDArray[np.int32]
    relative_cost: float


class OnlineGraph:
    """A graph in memory and how it is searched, which any number of decoders share."""

    def __init__(self, graph_folder: Path, graph_file: Path, search: Search) -> None:
        """Load the graph.

        Args:
            graph_folder: folder with `words.txt`.
            graph_file: the graph with the insertion penalty of `search`, see `decoder.penalised`.
            search: parameters.
        """
        self.words = read_words(graph_folder / WORDS_FILE)
        self.fst = kaldifst.StdConstFst.read(str(graph_file))
        self.scale = np.float32(search.acoustic_scale)
        # The library needs its minimum of states below its maximum.
        least = min(_MIN_ACTIVE, search.max_active - 1)
        self.options = FasterDecoderOptions(beam=search.beam, max_active=search.max_active, min_active=least)


class OnlineDecoder:
    """One utterance that is searched as its scores come.

    Attributes:
        frames: of the utterance, up to now.
    """

    def __init__(self, graph: OnlineGraph) -> None:
        """Begin with an utterance."""
        self._graph = graph
        self.start()

    def start(self) -> None:
        """Begin with another utterance."""
        self._decoder = FasterDecoder(self._graph.fst, self._graph.options)
        self._decoder.init_decoding()
        self.frames = 0

    def advance(self, log_likelihoods: NDArray[np.float32]) -> None:
        """Search on, with the (frames, pdfs) float32 scores that follow those before."""
        if len(log_likelihoods):
            scaled = np.ascontiguousarray(log_likelihoods * self._graph.scale, dtype=np.float32)
            self._decoder.advance_decoding(DecodableCtc(scaled, offset=self.frames))
            self.frames += len(log_likelihoods)

    def best(self, *, ended: bool = False) -> PathSoFar:
        """The best path; with `ended` the best of those that end where a sentence may end, if there is one."""
        found, path = self._decoder.get_best_path(use_final_probs=False) if self.frames else (False, None)
        if not found:
            return PathSoFar((), np.zeros(0, dtype=np.int32), math.inf)
        _, states, labels, weight = kaldifst.get_linear_symbol_sequence(path)
        relative = math.inf
        if self._decoder.reached_final():
            _, finished = self._decoder.get_best_path(use_final_probs=True)
            _, its_states, its_labels, its_weight = kaldifst.get_linear_symbol_sequence(finished)
            relative = its_weight.value1 + its_weight.value2 - weight.value1 - weight.value2
            if ended:
                states, labels = its_states, its_labels
        words = tuple(self._graph.words[label] for label in labels)
        return PathSoFar(words, np.asarray(states, dtype=np.int32) - 1, relative)


@dataclass(frozen=True)
class EndpointRule:
    """When an utterance is over; all that the rule says must hold.

    Attributes:
        speech: whether something else than silence must have been heard.
        trailing_silence: seconds of silence at its end, at least.
        relative_cost: largest relative cost of a path that ends where a sentence may end, in nats.
        length: seconds of the utterance, at least.
    """

    speech: bool
    trailing_silence: float
    relative_cost: float = math.inf
    length: float = 0.0

    def holds(self, *, speech: bool, silence: float, relative_cost: float, length: float) -> bool:
        """Whether an utterance with this is over, as far as the rule goes."""
        return (
            (speech or not self.speech)
            and silence >= self.trailing_silence
            and relative_cost <= self.relative_cost
            and length >= self.length
        )


# Those of Kaldi's `OnlineEndpointConfig`, but that long speech ends in a short pause. Kaldi's last rule cuts it after
# 20 s wherever that is: on dev of mini LibriSpeech two of three words beside such a cut were wrong, of others one.
ENDPOINT_RULES = (
    EndpointRule(speech=False, trailing_silence=5.0),
    EndpointRule(speech=True, trailing_silence=0.5, relative_cost=2.0),
    EndpointRule(speech=True, trailing_silence=1.0, relative_cost=8.0),
    EndpointRule(speech=True, trailing_silence=2.0),
    EndpointRule(speech=False, trailing_silence=0.2, length=20.0),
    EndpointRule(speech=False, trailing_silence=0.0, length=40.0),
)


def is_over(path: PathSoFar, silent: NDArray[np.bool_], frame_shift: float) -> bool:
    """Whether one of `ENDPOINT_RULES` holds.

    Args:
        path: the best one up to now.
        silent: (pdfs,) whether a pdf is one of silence.
        frame_shift: seconds from frame to frame.
    """
    sounding = np.flatnonzero(~silent[path.pdfs])
    trailing = len(path.pdfs) - 1 - sounding[-1] if len(sounding) else len(path.pdfs)
    return any(
        rule.holds(
            speech=len(sounding) > 0,
            silence=trailing * frame_shift,
            relative_cost=path.relative_cost,
            length=len(path.pdfs) * frame_shift,
        )
        for rule in ENDPOINT_RULES
    )


def silent_pdfs(topology: Topology) -> NDArray[np.bool_]:
    """(pdfs,) whether a pdf is one of silence."""
    found = np.zeros(topology.num_pdfs, dtype=bool)
    if topology.tree is None:
        found[list(topology.pdfs(SILENCE))] = True
        return found
    for root in topology.tree.roots:
        if root.phones == (SILENCE,):
            found[[leaf.pdf for node in root.states for leaf in leaves(node)]] = True
    return found
