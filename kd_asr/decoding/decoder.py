"""Beam search: from a matrix of log-likelihoods to words."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import kaldifst
import numpy as np
from kaldi_decoder import (
    DecodableCtc,
    FasterDecoder,
    FasterDecoderOptions,
    LatticeSimpleDecoder,
    LatticeSimpleDecoderConfig,
)
from numpy.typing import NDArray

from kd_asr.decoding.fst_arrays import add_to_words, highest_labels
from kd_asr.decoding.graph import GRAPH_FILE, WORDS_FILE, read_words
from kd_asr.decoding.nbest import Alternative, alternatives_of
from kd_asr.errors import UserError
from kd_asr.parallel import Workers

# States kept in each frame even outside the beam: Kaldi's default.
_MIN_ACTIVE = 20
# Frames after which a lattice is pruned in passing; in the end it is pruned all the same. The library's 25 take twice
# as long.
_PRUNE_INTERVAL = 400
# Systems whose scores a worker keeps, with their networks.
_KEPT_SCORES = 8

Scores = Callable[[str], NDArray[np.float32]]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Search:
    """Parameters of a search.

    Attributes:
        acoustic_scale: Weight of the log-likelihoods against the graph.
        insertion_penalty: Cost per word, in addition to the graph's; negative values reward words.
        beam: States that cost this much more than the best state of their frame are pruned.
        max_active: Largest number of states kept per frame.
    """

    acoustic_scale: float
    insertion_penalty: float = 0.0
    beam: float = 13.0
    max_active: int = 3000


@dataclass(frozen=True)
class Hypothesis:
    """The best path found for an utterance.

    Attributes:
        utterance_id: Id of the utterance.
        words: Recognised words.
        graph_cost: Cost of the path in the graph (language model, silence, transitions), without insertion penalties.
        acoustic_cost: Negative sum of the log-likelihoods, before scaling.
        reached_final: False if no path ends where a sentence may end; this is then the best incomplete one.
        frames: Length of the utterance in frames.
        search_seconds: Time of the search on one core.
    """

    utterance_id: str
    words: tuple[str, ...]
    graph_cost: float
    acoustic_cost: float
    reached_final: bool
    frames: int
    search_seconds: float

    def total_cost(self, acoustic_scale: float, insertion_penalty: float) -> float:
        """Cost that the search minimises."""
        return self.graph_cost + acoustic_scale * self.acoustic_cost + insertion_penalty * len(self.words)


class Decoder:
    """A graph in memory, to decode one utterance after another; it holds the interpreter lock while it searches.

    Attributes:
        search: Parameters, which may change between utterances except for the insertion penalty, which is in the graph.
    """

    def __init__(self, graph_folder: Path, search: Search, *, graph_file: Path | None = None) -> None:
        """Load the graph.

        Args:
            graph_folder: folder with `HCLG.fst` and `words.txt`.
            search: parameters; `insertion_penalty` must be 0 unless `graph_file` includes it.
            graph_file: another file of the graph, with insertion penalties (see `penalised`).

        Raises:
            UserError: a file is missing, cut short or of another format, or words of the graph have no name.
        """
        self.search = search
        self._words = read_words(graph_folder / WORDS_FILE)
        path = graph_file or graph_folder / GRAPH_FILE
        self._num_pdfs, highest_word = highest_labels(path)
        if highest_word >= len(self._words):
            raise UserError(f"{path} and {graph_folder / WORDS_FILE} do not belong together: build the graph again")
        self._graph = kaldifst.StdConstFst.read(str(path))

    def alternatives(
        self, utterance_id: str, log_likelihoods: NDArray[np.float32], *, count: int, lattice_beam: float
    ) -> list[Alternative]:
        """The best word sequences of an utterance; `max_active` is ignored here.

        Args:
            utterance_id: id of the utterance, for error messages.
            log_likelihoods: as in `decode`.
            count: largest number of sequences.
            lattice_beam: paths that cost this much more than the best one are dropped.

        Raises:
            UserError: as in `decode`.
        """
        self._check(utterance_id, log_likelihoods)
        if not len(log_likelihoods):
            return []
        config = LatticeSimpleDecoderConfig(
            beam=self.search.beam, lattice_beam=lattice_beam, prune_interval=_PRUNE_INTERVAL
        )
        decoder = LatticeSimpleDecoder(self._graph, config)
        decoder.decode(self._decodable(log_likelihoods))
        found, lattice = decoder.get_raw_lattice()
        return alternatives_of(lattice, self._words, count) if found else []

    def _decodable(self, log_likelihoods: NDArray[np.float32]) -> DecodableCtc:
        scaled = log_likelihoods * np.float32(self.search.acoustic_scale)
        return DecodableCtc(np.ascontiguousarray(scaled, dtype=np.float32))

    def _check(self, utterance_id: str, log_likelihoods: NDArray[np.float32]) -> None:
        if log_likelihoods.ndim != 2 or log_likelihoods.shape[1] < self._num_pdfs:
            # The search would read beyond the end of the matrix.
            raise UserError(
                f"{utterance_id}: scores of shape {log_likelihoods.shape}, but the graph has {self._num_pdfs} pdfs: "
                "network and graph must be made from the same alignment"
            )
        if not np.isfinite(log_likelihoods).all():
            raise UserError(f"{utterance_id}: the network's scores are not all finite numbers; train it again")

    def decode(self, utterance_id: str, log_likelihoods: NDArray[np.float32]) -> Hypothesis:
        """Find the best path of one utterance.

        Args:
            utterance_id: id of the utterance, part of the result.
            log_likelihoods: (frames, pdfs) float32, such as log posterior - log prior, before scaling.

        Raises:
            UserError: a log-likelihood is not finite, or the graph has pdfs that the matrix lacks.
        """
        self._check(utterance_id, log_likelihoods)
        frames = len(log_likelihoods)
        if not frames:
            return Hypothesis(utterance_id, (), 0.0, 0.0, False, 0, 0.0)
        started = time.perf_counter()
        scale, max_active = self.search.acoustic_scale, self.search.max_active
        # The library needs its minimum of states below its maximum, even where a user asks for very few.
        min_active = min(_MIN_ACTIVE, max_active - 1)
        options = FasterDecoderOptions(beam=self.search.beam, max_active=max_active, min_active=min_active)
        decoder = FasterDecoder(self._graph, options)
        decoder.decode(self._decodable(log_likelihoods))
        reached_final = decoder.reached_final()
        found, path = decoder.get_best_path()
        if not found:
            return Hypothesis(utterance_id, (), 0.0, 0.0, False, frames, time.perf_counter() - started)
        _, _, labels, weight = kaldifst.get_linear_symbol_sequence(path)
        words = tuple(self._words[label] for label in labels)
        return Hypothesis(
            utterance_id,
            words,
            weight.value1 - self.search.insertion_penalty * len(words),
            weight.value2 / scale,
            reached_final,
            frames,
            time.perf_counter() - started,
        )


@contextmanager
def penalised(graph_folder: Path, insertion_penalty: float, scratch: Path) -> Iterator[Path]:
    """A file of the graph with the penalty on each word, kept in the folder `scratch` while the context lasts.

    Without a penalty it is the graph's own file.
    """
    if insertion_penalty == 0.0:
        yield graph_folder / GRAPH_FILE
        return
    path = scratch / f"penalised-{GRAPH_FILE}"
    try:
        add_to_words(graph_folder / GRAPH_FILE, path, insertion_penalty)
        yield path
    finally:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Task:
    """What a worker needs for the utterances of a set; small, since it is sent with each of them.

    `written` distinguishes a graph file from an earlier one of the same name.
    """

    graph_folder: Path
    graph_file: Path
    written: int
    search: Search
    scores: bytes


# A worker serves one set after another and keeps the graph while it stays the same.
@lru_cache(maxsize=1)
def _decoder(graph_folder: Path, graph_file: Path, written: int, penalty: float) -> Decoder:
    return Decoder(graph_folder, Search(1.0, penalty), graph_file=graph_file)


@lru_cache(maxsize=_KEPT_SCORES)
def unpickled_scores(pickled: bytes) -> Scores:
    """Scores for functions that run in workers: the same object, with what it has loaded, for the same bytes.

    Those of several systems are kept, since a point of the grid is tried with all seeds of a group in turn.
    """
    scores: Scores = pickle.loads(pickled)  # made by the parent process, never read from a file
    return scores


def _search(item: tuple[str, int], task: _Task, method: Callable[..., Found]) -> Found:
    decoder = _decoder(task.graph_folder, task.graph_file, task.written, task.search.insertion_penalty)
    decoder.search = task.search
    return method(decoder, item[0], unpickled_scores(task.scores)(item[0]))


def search_set(
    graph_folder: Path,
    utterances: Sequence[tuple[str, int]],
    scores: Scores,
    search: Search,
    workers: Workers,
    *,
    method: Callable[..., Found],
    scratch: Path,
    description: str,
) -> list[Found]:
    """Search many utterances in worker processes, each of which loads the graph once.

    Args:
        graph_folder: folder with `HCLG.fst` and `words.txt`.
        utterances: (id, number of frames), in the order of the results; the longest should not come last.
        scores: returns the (frames, pdfs) float32 log-likelihoods of an utterance. It is sent to the workers, so it
            must be small and picklable: a top-level function, a `functools.partial` of one, or an object of a
            top-level class. A worker keeps it, with what it has loaded, until it gets another one.
        search: scale, penalty and pruning.
        workers: worker processes; successive calls with the same workers load nothing twice.
        method: method to call for each utterance: `Decoder.decode`, or a `functools.partial` of
            `Decoder.alternatives`.
        scratch: folder for a temporary copy of the graph; not the system's folder for temporary files, in which a
            killed process would leave it behind.
        description: text of the progress bar.
    """
    with penalised(graph_folder, search.insertion_penalty, scratch) as graph_file:
        written = graph_file.stat().st_mtime_ns
        task = _Task(graph_folder, graph_file, written, search, pickle.dumps(scores))
        return list(
            workers.map(
                partial(_search, task=task, method=method),
                utterances,
                description=description,
                unit="frames",
                amount=lambda item: item[1],
            )
        )


def load_scores(utterance_id: str, *, folder: Path) -> NDArray[np.float32]:
    """Log-likelihoods from `<folder>/<utterance id>.npy`, for `search_set` as `partial(load_scores, folder=...)`."""
    path = folder / f"{utterance_id}.npy"
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read as a matrix of log-likelihoods: {error}") from error
