"""Flat-start training of the aligner, step by step, each making a model from the last one.

1. `equal`: every state of the transcript gets the same share of the frames; one Gaussian per pdf.
2. `cepstra`: align the shortest utterances, then one EM pass on cepstra and derivatives; the Gaussians grow.
3. `discriminants`: align everything, then fit new linear discriminants of these classes, and mixtures in their space.
4. `tie`: align everything, grow a tree that ties the states of triphones, then fit discriminants and mixtures for them.
   Further steps `discriminants` align with tied states.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kd_asr.alignment.fit import VARIANCE_FLOOR, fit_mixtures, occupancy_of, one_gaussian
from kd_asr.alignment.gmm import Doubles, Floats, Mixtures, Statistics, accumulate, maximise, split
from kd_asr.alignment.graphs import training_graph
from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.observations import ClassMoments, cepstra_with_deltas, linear_discriminants, spliced
from kd_asr.alignment.settings import AlignSettings
from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import SILENCE, STATES_PER_PHONE, Topology
from kd_asr.alignment.tree import StateTree
from kd_asr.alignment.tying import context_statistics, frame_contexts, grow_tree
from kd_asr.alignment.viterbi import BestPath, best_path
from kd_asr.artifacts import damaged

_SELF_LOOP_RANGE = (0.05, 0.97)
# Four hours of speech, from more of which monophones learn nothing; tied states see as many frames each as 2000 of them
# do then. All must fit in memory: 160 bytes a frame, 1.7 GB for 14,000 states.
_FIT_FRAMES = 1_500_000
_FRAMES_PER_STATE = 750

Step = Literal["equal", "cepstra", "discriminants", "tie"]


@dataclass(frozen=True)
class AlignerModel:
    """A trained aligner.

    Attributes:
        mixtures: Gaussian mixtures, one per pdf.
        topology: phones, loop probabilities, and the tree of tied states.
        projection: (dimension of spliced frames, discriminants) float32; None while cepstra are used.
    """

    mixtures: Mixtures
    topology: Topology
    projection: Floats | None

    def observations(self, log_mel: Floats) -> Floats:
        """(frames, dimension) float32 inputs of the mixtures, from (frames, bins) normalised log-mel frames."""
        if self.projection is None:
            return cepstra_with_deltas(log_mel)
        return spliced(log_mel) @ self.projection

    def save(self, path: Path) -> None:
        """Write as safetensors, the phones in its header; never half a file."""
        tensors: dict[str, NDArray[Any]] = {
            "pdf": self.mixtures.pdf,
            "weights": self.mixtures.weights,
            "means": self.mixtures.means,
            "variances": self.mixtures.variances,
            "self_loop": np.array(self.topology.self_loop, dtype=np.float64),
        }
        if self.projection is not None:
            tensors["projection"] = self.projection
        if self.topology.tree is not None:
            # Not in the header: safetensors writes several entries in an order that changes from file to file.
            tensors["tree"] = np.frombuffer(json.dumps(self.topology.tree.to_json()).encode(), dtype=np.uint8)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(save(tensors, {"phones": json.dumps(self.topology.phones)}))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> AlignerModel:
        """Read what `save` wrote.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
                phones = tuple(json.loads(file.metadata()["phones"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise damaged(path, error) from error
        mixtures = Mixtures(tensors["pdf"], tensors["weights"], tensors["means"], tensors["variances"])
        tree = StateTree.from_json(json.loads(tensors["tree"].tobytes())) if "tree" in tensors else None
        topology = Topology(phones, tuple(float(value) for value in tensors["self_loop"]), tree)
        return cls(mixtures, topology, tensors.get("projection"))


@dataclass(frozen=True)
class Sample:
    """An utterance to learn from: (frames, bins) float32 normalised log-mel frames, and its transcript."""

    log_mel: Floats
    words: tuple[str, ...]


@dataclass
class Transitions:
    """Counts of staying in and entering states; `a += b` adds two.

    Attributes:
        stays: (pdfs,) frames after the first one in a state.
        visits: (pdfs,) times a state was entered.
    """

    stays: Doubles
    visits: Doubles

    @classmethod
    def zeros(cls, num_pdfs: int) -> Transitions:
        """No transitions."""
        return cls(np.zeros(num_pdfs), np.zeros(num_pdfs))

    def add(self, path: BestPath) -> None:
        """Add the path of one utterance."""
        self.visits += np.bincount(path.pdfs[path.entered], minlength=len(self.visits))
        self.stays += np.bincount(path.pdfs[~path.entered], minlength=len(self.stays))

    def __iadd__(self, other: Transitions) -> Transitions:
        self.stays += other.stays
        self.visits += other.visits
        return self

    def apply(self, topology: Topology) -> Topology:
        """The topology with these loop probabilities; states with few frames keep theirs."""
        total = self.stays + self.visits
        estimated = np.clip(self.stays / np.maximum(total, 1), *_SELF_LOOP_RANGE)
        return topology.with_self_loop(np.where(total >= 20, estimated, np.array(topology.self_loop)))


@dataclass
class PassResult:
    """Results of an EM pass over some utterances; `a += b` adds two.

    Attributes:
        statistics: Statistics of the mixtures.
        transitions: Transitions of the paths.
        failed: Number of utterances without a path.
    """

    statistics: Statistics
    transitions: Transitions
    failed: int = 0

    def __iadd__(self, other: PassResult) -> PassResult:
        self.statistics += other.statistics
        self.transitions += other.transitions
        self.failed += other.failed
        return self


def schedule(settings: AlignSettings) -> list[Step]:
    """The steps of the whole training, in order."""
    steps: list[Step] = ["equal"]
    steps += ["cepstra"] * (settings.cepstral_iterations - 1)
    steps += ["discriminants"] * settings.discriminant_iterations
    if settings.leaves:
        steps += ["tie"]
        steps += ["discriminants"] * settings.tied_iterations
    return steps


def gaussians_after(number: int, settings: AlignSettings, num_pdfs: int) -> int:
    """Number of Gaussians after step `number`: it grows steadily to half of the setting, then stays for two passes."""
    share = min(1.0, number / max(1, settings.cepstral_iterations - 3))
    growth: float = max(1.0, settings.gaussians / 2 / num_pdfs) ** share
    return round(num_pdfs * growth)


def first_model(phones: tuple[str, ...], blocks: Iterable[Floats]) -> AlignerModel:
    """A model with the same Gaussian of cepstra for every pdf, fitted to all (frames, bins) blocks together."""
    count = 0
    total = square = np.zeros(1)
    for log_mel in blocks:
        frames = cepstra_with_deltas(log_mel).astype(np.float64)
        count += len(frames)
        total = total + frames.sum(axis=0)
        square = square + np.square(frames).sum(axis=0)
    mean = total / count
    topology = Topology.uniform(phones)
    return AlignerModel(one_gaussian(mean, square / count - np.square(mean), topology.num_pdfs), topology, None)


def equal_path(sample: Sample, lexicon: Lexicon, topology: Topology) -> BestPath | None:
    """Path on which every state of the first pronunciations, with silence at both ends, gets an equal share of frames.

    Returns:
        The path, without timed phones, or None if there are more states than frames.
    """
    phones = [SILENCE, *(phone for word in sample.words for phone in lexicon.variants(word)[0]), SILENCE]
    states = [topology.pdf(phone, state) for phone in phones for state in range(STATES_PER_PHONE)]
    frames = len(sample.log_mel)
    if frames < len(states):
        return None
    place = np.arange(frames) * len(states) // frames
    return BestPath(np.array(states, dtype=np.int32)[place], (), np.diff(place, prepend=-1) != 0, 0.0)


def model_path(model: AlignerModel, sample: Sample, lexicon: Lexicon, settings: AlignSettings) -> BestPath | None:
    """The best path of one utterance, or None when it cannot be aligned."""
    graph = training_graph(
        sample.words, lexicon, model.topology, silence_probability=settings.silence_probability
    )
    if len(sample.log_mel) < graph.shortest:
        return None
    log_likelihoods = model.mixtures.log_likelihoods(model.observations(sample.log_mel), graph.pdfs)
    return best_path(log_likelihoods, graph, beam=settings.beam, retry_beam=settings.retry_beam)


def run_pass(
    model: AlignerModel, samples: Iterable[Sample], find_path: Callable[[Sample], BestPath | None]
) -> PassResult:
    """E-step over some utterances: align each, and collect what `next_model` needs.

    Args:
        model: model whose Gaussians share the frames.
        samples: utterances.
        find_path: function that aligns an utterance.
    """
    transitions = Transitions.zeros(model.topology.num_pdfs)
    observed = [np.zeros((0, model.mixtures.means.shape[1]), dtype=np.float32)]
    pdfs = [np.zeros(0, dtype=np.int32)]
    failed = 0
    for sample in samples:
        path = find_path(sample)
        if path is None:
            failed += 1
            continue
        transitions.add(path)
        observed.append(model.observations(sample.log_mel))
        pdfs.append(path.pdfs)
    # All at once, so that each pdf's Gaussians and all of its frames are one matrix product.
    statistics = accumulate(model.mixtures, np.concatenate(observed), np.concatenate(pdfs))
    return PassResult(statistics, transitions, failed)


def next_model(model: AlignerModel, result: PassResult, gaussians: int) -> AlignerModel:
    """M-step: the model from an EM pass over all data, its Gaussians split up to a number."""
    statistics = result.statistics
    mean = statistics.sums.sum(axis=0) / statistics.frames
    variance = statistics.squares.sum(axis=0) / statistics.frames - np.square(mean)
    floor = (VARIANCE_FLOOR * variance).astype(np.float32)
    mixtures = maximise(model.mixtures, statistics, variance_floor=floor)
    frames = np.bincount(model.mixtures.pdf, weights=statistics.occupancy, minlength=mixtures.num_pdfs)
    mixtures = split(mixtures, occupancy_of(mixtures, frames), gaussians)
    return AlignerModel(mixtures, result.transitions.apply(model.topology), model.projection)


def discriminant_model(
    topology: Topology,
    utterance_ids: Sequence[str],
    log_mel: Callable[[str], Floats],
    labels: Callable[[str], NDArray[np.int32]],
    *,
    gaussians: int,
    advance: Callable[[float], None] = lambda share: None,
) -> tuple[AlignerModel, list[float]]:
    """Fit discriminants and mixtures to an alignment, from scratch.

    Args:
        topology: phones and loop probabilities, which are kept.
        utterance_ids: aligned utterances; of a large corpus every n-th one is used.
        log_mel: returns the (frames, bins) normalised frames of an utterance.
        labels: returns the (frames,) pdfs of an utterance.
        gaussians: total number of Gaussians.
        advance: called with the share of the work that was just done.

    Returns:
        The model, and the log-likelihood per frame in nats of the mixtures that each EM pass began with.
    """
    chosen, count = _enough(utterance_ids, labels, topology.num_pdfs)
    moments = ClassMoments.zeros(topology.num_pdfs, spliced(log_mel(chosen[0])).shape[1])
    for name in chosen:
        moments.add(spliced(log_mel(name)), labels(name))
    advance(0.3)
    projection = linear_discriminants(moments)
    mixtures, log_likelihoods = fit_mixtures(
        _stacked((spliced(log_mel(name)) @ projection for name in chosen), count),
        _stacked((labels(name) for name in chosen), count),
        num_pdfs=topology.num_pdfs,
        gaussians=gaussians,
        advance=lambda share: advance(0.7 * share),
    )
    return AlignerModel(mixtures, topology, projection), log_likelihoods


def _enough(
    utterance_ids: Sequence[str], labels: Callable[[str], NDArray[np.int32]], states: int
) -> tuple[Sequence[str], int]:
    """All utterances, or every n-th one of a large corpus, and the number of their frames."""
    total = sum(len(labels(name)) for name in utterance_ids)
    chosen = utterance_ids[:: -(-total // max(_FIT_FRAMES, _FRAMES_PER_STATE * states))]
    return chosen, sum(len(labels(name)) for name in chosen)


def _stacked(blocks: Iterable[NDArray[Any]], count: int) -> NDArray[Any]:
    """Blocks one after the other, `count` rows in all, without a moment when all are in memory twice."""
    left = iter(blocks)
    first = next(left)
    whole = np.empty((count, *first.shape[1:]), dtype=first.dtype)
    row = 0
    for block in chain([first], left):
        whole[row : row + len(block)] = block
        row += len(block)
    return whole


def state_tree(
    model: AlignerModel,
    utterance_ids: Sequence[str],
    log_mel: Callable[[str], Floats],
    labels: Callable[[str], NDArray[np.int32]],
    segments: Callable[[str], Sequence[PhoneSegment]],
    *,
    settings: AlignSettings,
) -> StateTree:
    """Grow a tree that ties the states of triphones, on the inputs of a monophone model.

    Args:
        model: monophone model.
        utterance_ids: utterances that it has aligned; of a large corpus every n-th one is used.
        log_mel: returns the (frames, bins) normalised frames of an utterance.
        labels: returns the (frames,) pdfs of an utterance.
        segments: returns the timed phones of an utterance.
        settings: number and smallest size of the leaves.
    """
    chosen, count = _enough(utterance_ids, labels, settings.leaves)
    phones = model.topology.phones
    statistics = context_statistics(
        _stacked((model.observations(log_mel(name)) for name in chosen), count),
        _stacked(
            (frame_contexts(segments(name), labels(name) % STATES_PER_PHONE, phones) for name in chosen), count
        ),
        phones,
    )
    return grow_tree(statistics, leaves=settings.leaves, min_frames=settings.leaf_min_frames)
