"""Flat-start training: one pass at a time, each a function from a model to statistics to the next model.

First passes on cepstra and their derivatives, from an equal share of frames for every state of the transcript. Then
linear discriminants of spliced cepstra take their place, with one Gaussian per pdf again, and more with each pass.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from kd_asr.alignment.gmm import Floats, Mixtures, Statistics, accumulate, maximise, split
from kd_asr.alignment.graphs import training_graph
from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.observations import (
    CONTEXT,
    DISCRIMINANTS,
    NUM_CEPSTRA,
    ClassMoments,
    cepstra_with_deltas,
    cosine_transform,
    linear_discriminants,
    spliced,
)
from kd_asr.alignment.store import Alignment
from kd_asr.alignment.topology import SILENCE, STATES_PER_PHONE, Topology
from kd_asr.alignment.viterbi import align_utterance
from kd_asr.config import AlignSettings

_VARIANCE_FLOOR = 0.05  # of the variance over all frames
_SELF_LOOP_RANGE = (0.05, 0.97)

Pass = Literal["equal", "cepstra", "discriminants", "final"]


@dataclass(frozen=True)
class AlignerModel:
    """Everything the aligner has learnt.

    Attributes:
        mixtures: one per pdf.
        topology: phones and loop probabilities.
        projection: (dimension of spliced cepstra, discriminants) float32; None while cepstra are used directly.
    """

    mixtures: Mixtures
    topology: Topology
    projection: Floats | None

    def observations(self, log_mel: Floats) -> Floats:
        """(frames, dimension) float32 that the mixtures see of (frames, bins) normalised log-mel frames."""
        if self.projection is None:
            return cepstra_with_deltas(log_mel)
        return spliced(log_mel @ cosine_transform(log_mel.shape[1]), CONTEXT) @ self.projection

    def save(self, path: Path) -> None:
        """Write as safetensors; the topology's phones stand in its header."""
        tensors: dict[str, NDArray[Any]] = {
            "pdf": self.mixtures.pdf,
            "weights": self.mixtures.weights,
            "means": self.mixtures.means,
            "variances": self.mixtures.variances,
            "self_loop": np.array(self.topology.self_loop, dtype=np.float64),
        }
        if self.projection is not None:
            tensors["projection"] = self.projection
        temporary = path.with_name(f".{path.name}.tmp")
        save_file(tensors, temporary, {"phones": json.dumps(self.topology.phones)})
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path, phones: tuple[str, ...]) -> AlignerModel:
        """Read what `save` wrote."""
        tensors = load_file(path)
        mixtures = Mixtures(tensors["pdf"], tensors["weights"], tensors["means"], tensors["variances"])
        topology = Topology(phones, tuple(float(value) for value in tensors["self_loop"]))
        return cls(mixtures, topology, tensors.get("projection"))


@dataclass
class PassResult:
    """What a pass over some utterances found; `a += b` joins two.

    Attributes:
        statistics: of the mixtures; None in the pass that collects `moments`.
        moments: for the discriminants.
        stays: (pdfs,) frames after the first one in a state.
        visits: (pdfs,) times a state was entered.
        failed: utterances without a path.
        log_likelihood: of the best paths' frames, without transitions.
        frames: aligned.
    """

    statistics: Statistics | None
    moments: ClassMoments | None
    stays: NDArray[np.float64]
    visits: NDArray[np.float64]
    failed: list[str]
    log_likelihood: float
    frames: int

    def __iadd__(self, other: PassResult) -> PassResult:
        if self.statistics is not None and other.statistics is not None:
            self.statistics += other.statistics
        if self.moments is not None and other.moments is not None:
            self.moments += other.moments
        self.stays += other.stays
        self.visits += other.visits
        self.failed += other.failed
        self.log_likelihood += other.log_likelihood
        self.frames += other.frames
        return self


def schedule(settings: AlignSettings) -> list[Pass]:
    """The kinds of passes of the whole training, in order."""
    cepstral: list[Pass] = ["equal", *["cepstra"] * (settings.cepstral_iterations - 1)]  # type: ignore[list-item]
    if settings.discriminant_iterations == 0:
        return cepstral
    return [*cepstral, "discriminants", *["final"] * settings.discriminant_iterations]  # type: ignore[list-item]


def sees_everything(number: int, settings: AlignSettings) -> bool:
    """Whether pass `number` sees all utterances, or the shortest ones only."""
    return number >= settings.cepstral_iterations


def gaussians_after(number: int, settings: AlignSettings, num_pdfs: int) -> int:
    """Gaussians wanted after pass `number`: they grow steadily, twice over, and rest in the last passes."""
    passes = schedule(settings)
    if passes[number] == "final":
        done, of, goal = number - settings.cepstral_iterations, settings.discriminant_iterations - 2, settings.gaussians
    else:
        done, of, goal = number, settings.cepstral_iterations - 3, settings.gaussians // 2
    share = min(1.0, done / max(1, of))
    return max(num_pdfs, int(num_pdfs * (max(goal, num_pdfs) / num_pdfs) ** share))


def equal_alignment(
    utterance_id: str, frames: int, words: Sequence[str], lexicon: Lexicon, topology: Topology
) -> Alignment | None:
    """Every state of the first pronunciations, silence at both ends, gets the same share of the frames."""
    phones = [SILENCE, *(phone for word in words for phone in lexicon.variants(word)[0]), SILENCE]
    states = [topology.pdf(phone, state) for phone in phones for state in range(STATES_PER_PHONE)]
    if frames < len(states):
        return None
    place = np.arange(frames) * len(states) // frames
    return Alignment(utterance_id, np.array(states, dtype=np.int32)[place], ())


def run_pass(
    kind: Pass,
    model: AlignerModel,
    utterances: Sequence[tuple[str, Floats, Sequence[str]]],
    lexicon: Lexicon,
    settings: AlignSettings,
) -> PassResult:
    """Align utterances, each (id, log-mel frames, words), with `model` and collect what the next model needs."""
    pdfs = model.topology.num_pdfs
    dimension = model.mixtures.means.shape[1]
    result = PassResult(None, None, np.zeros(pdfs), np.zeros(pdfs), [], 0.0, 0)
    if kind == "discriminants":
        result.moments = ClassMoments.zeros(pdfs, NUM_CEPSTRA * (2 * CONTEXT + 1))
    else:
        result.statistics = Statistics.zeros(len(model.mixtures.pdf), dimension)
    for utterance_id, log_mel, words in utterances:
        observations = model.observations(log_mel)
        if kind == "equal":
            alignment = equal_alignment(utterance_id, len(log_mel), words, lexicon, model.topology)
        else:
            alignment = align_words(
                model, utterance_id, observations, words, lexicon=lexicon, settings=settings
            )
        if alignment is None:
            result.failed.append(utterance_id)
            continue
        _count_transitions(result, alignment.pdfs)
        result.frames += len(log_mel)
        if result.moments is not None:
            result.moments.add(spliced(log_mel @ cosine_transform(log_mel.shape[1]), CONTEXT), alignment.pdfs)
            result.log_likelihood += accumulate(model.mixtures, observations, alignment.pdfs).log_likelihood
        elif result.statistics is not None:
            mine = accumulate(model.mixtures, observations, alignment.pdfs)
            result.statistics += mine
            result.log_likelihood += mine.log_likelihood
    return result


def align_words(
    model: AlignerModel,
    utterance_id: str,
    observations: Floats,
    words: Sequence[str],
    *,
    lexicon: Lexicon,
    settings: AlignSettings,
) -> Alignment | None:
    """The best path of one utterance, or None when it cannot be aligned."""
    graph = training_graph(words, lexicon, model.topology, silence_probability=settings.silence_probability)
    if len(observations) < graph.shortest:
        return None
    log_likelihoods = model.mixtures.log_likelihoods(observations, graph.pdfs)
    return align_utterance(
        utterance_id, log_likelihoods, graph, beam=settings.beam, retry_beam=settings.retry_beam
    )


def next_model(kind: Pass, model: AlignerModel, result: PassResult, gaussians: int, floor: Floats) -> AlignerModel:
    """The M-step of a pass.

    Args:
        kind: of the pass.
        model: it was made with.
        result: of all utterances.
        gaussians: wanted in the next model.
        floor: (39,) variance over all frames of cepstra and derivatives, before the share that is the floor.
    """
    topology = _with_loops(model.topology, result)
    if result.moments is not None:
        return _discriminant_model(result.moments, topology)
    assert result.statistics is not None  # every other pass collects them
    lowest = (floor if model.projection is None else np.ones(DISCRIMINANTS, np.float32)) * _VARIANCE_FLOOR
    mixtures = maximise(model.mixtures, result.statistics, variance_floor=lowest)
    if gaussians > len(mixtures.pdf):
        seen = np.bincount(
            model.mixtures.pdf, weights=result.statistics.occupancy, minlength=model.mixtures.num_pdfs
        )
        occupancy = np.asarray(seen[mixtures.pdf] * mixtures.weights, dtype=np.float64)
        mixtures = split(mixtures, occupancy, gaussians)
    return replace(model, mixtures=mixtures, topology=topology)


def first_model(phones: tuple[str, ...], mean: Floats, variance: Floats) -> AlignerModel:
    """The same Gaussian, that of all frames, for every pdf."""
    topology = Topology.uniform(phones)
    pdfs = topology.num_pdfs
    mixtures = Mixtures(
        np.arange(pdfs), np.ones(pdfs, np.float32), np.tile(mean, (pdfs, 1)), np.tile(variance, (pdfs, 1))
    )
    return AlignerModel(mixtures, topology, None)


def _discriminant_model(moments: ClassMoments, topology: Topology) -> AlignerModel:
    """Discriminants of the classes, and one Gaussian per pdf in their space: there the classes' variance is 1."""
    projection = linear_discriminants(moments)
    mean = moments.sums.sum(axis=0) / moments.counts.sum()
    seen = moments.counts > 0
    means = np.where(seen[:, None], moments.sums / np.maximum(moments.counts, 1)[:, None], mean)
    pdfs = topology.num_pdfs
    mixtures = Mixtures(
        np.arange(pdfs),
        np.ones(pdfs, np.float32),
        (means @ projection).astype(np.float32),
        np.ones((pdfs, DISCRIMINANTS), np.float32),
    )
    return AlignerModel(mixtures, topology, projection)


def _with_loops(topology: Topology, result: PassResult) -> Topology:
    total = result.stays + result.visits
    estimated = np.clip(result.stays / np.maximum(total, 1), *_SELF_LOOP_RANGE)
    return topology.with_self_loop(np.where(total >= 20, estimated, np.array(topology.self_loop)))


def _count_transitions(result: PassResult, pdfs: NDArray[np.int32]) -> None:
    entered = np.diff(pdfs, prepend=-1) != 0
    result.visits += np.bincount(pdfs[entered], minlength=len(result.visits))
    result.stays += np.bincount(pdfs[~entered], minlength=len(result.stays))
