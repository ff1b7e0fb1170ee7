"""Networks as a source of scores, and hypotheses on disk, shared by the stages that recognise speech."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray

from kd_asr.artifacts import load_artifact
from kd_asr.corpora.manifest import Utterance, read_manifest
from kd_asr.decoding.decoder import Decoder, Hypothesis, Search, search_set
from kd_asr.device import HOST, find_device
from kd_asr.evaluation.wer import score_words, total_errors
from kd_asr.features.store import FrameStore
from kd_asr.jobs.systems import Average, NetworkRef, System
from kd_asr.networks.base import Network
from kd_asr.networks.ensemble import combined_log_posteriors
from kd_asr.parallel import Workers
from kd_asr.stages.networks import posteriors_of
from kd_asr.stages.settings import Settings
from kd_asr.stages.speakers import SpeakerAdaptation, speakers_of
from kd_asr.stages.systems import load_networks
from kd_asr.tasks.targets import Targets

# Scores that each worker keeps of all systems together, since dev is decoded with the same scores at every point of the
# grid, by all seeds in turn. What came first stays: of a round that does not fit, the latest would never be asked for
# again in time.
_KEPT_BYTES = 300_000_000

Recognised = tuple[list[Utterance], list[Hypothesis]]


class NetworkScores:
    """Log-likelihoods of a frame store's utterances, up to a constant for each frame: log posterior - log prior, of
    every frame or, for networks that learn sequences, every third.

    The networks are loaded on first use, so that an object is cheap to send to a worker. The worker keeps up to 300 MB
    of scores of all such objects for the next search with the same one. With `adapt.prior_frames` the networks are
    adapted to the speaker, if the speakers are known.
    """

    _alive: ClassVar[WeakSet[NetworkScores]] = WeakSet()

    def __init__(
        self,
        run_dir: Path,
        frames: Path,
        networks: Sequence[NetworkRef],
        settings: Settings,
        log_prior: torch.Tensor,
        *,
        average: Average = "arithmetic",
        speakers: Mapping[str, str] | None = None,
        stride: int = 1,
    ) -> None:
        """Prepare networks of a run, averaged by `average` if several, for every `stride`-th frame of the frame store
        `frames`; `speakers` has the speaker of each utterance, for adaptation."""
        self._run_dir = run_dir
        self._average = average
        self._stride = stride
        self._frames = frames
        self._networks = networks
        self._settings = settings
        self._device = find_device(settings.device)
        self._log_prior = log_prior.numpy()  # the same bytes each time it is pickled, unlike a tensor
        self._speakers = speakers if settings.adapt.prior_frames > 0 else None
        self._loaded: tuple[list[Network], FrameStore] | None = None
        self._adaptation: SpeakerAdaptation | None = None
        self._kept: dict[str, NDArray[np.float32]] = {}
        self._bytes = 0

    def __call__(self, utterance_id: str) -> NDArray[np.float32]:
        """(frames, pdfs) float32 scores of an utterance; read only."""
        if utterance_id in self._kept:
            return self._kept[utterance_id]
        if self._loaded is None:
            store = FrameStore.open(self._frames)
            models = self._device.put(load_networks(self._run_dir, self._networks, store.features))
            self._loaded = models, store
            if self._speakers is not None:
                self._adaptation = SpeakerAdaptation(models, store, self._speakers, self._settings)
        models, store = self._loaded
        if self._adaptation is not None:
            self._adaptation.adapt_to(utterance_id)
        precision = self._settings.train.precision
        members = posteriors_of(models, store, [utterance_id], precision=precision, stride=self._stride)
        scores = combined_log_posteriors(models, members, self._average)
        likelihoods = np.asarray(HOST.put(scores).numpy() - self._log_prior, dtype=np.float32)
        self._alive.add(self)
        if likelihoods.nbytes + sum(one._bytes for one in self._alive) <= _KEPT_BYTES:
            self._kept[utterance_id] = likelihoods
            self._bytes += likelihoods.nbytes
        return likelihoods


def recognising_workers(settings: Settings) -> Workers:
    """Processes that apply networks and search, as many as the device of the networks can take."""
    return Workers(find_device(settings.device).processes(settings.jobs))


def set_scores(
    run_dir: Path, set_name: str, system: System, settings: Settings, log_prior: torch.Tensor, *, stride: int = 1
) -> NetworkScores:
    """Scores of every `stride`-th frame of dev or test by a system of a run, adapted to the speakers."""
    speakers = speakers_of(run_dir, set_name) if settings.adapt.prior_frames > 0 else None
    return NetworkScores(
        run_dir,
        run_dir / "features" / set_name,
        system.members,
        settings,
        log_prior,
        average=system.combine,
        speakers=speakers,
        stride=stride,
    )


def search_scores(run_dir: Path, set_name: str, system: System, settings: Settings) -> NetworkScores:
    """Scores of dev or test that a search takes."""
    targets = settings.targets
    prior = _prior(run_dir, targets, load_artifact(run_dir, targets.artifact).fingerprint)
    return set_scores(run_dir, set_name, system, settings, prior, stride=targets.stride)


@lru_cache(maxsize=1)
def _prior(run_dir: Path, targets: Targets, fingerprint: str) -> torch.Tensor:
    """What the search subtracts; `fingerprint` distinguishes an alignment from an earlier one in the same folder."""
    return targets.log_prior(run_dir)


def utterances_to_decode(run_dir: Path, set_name: str) -> tuple[list[Utterance], list[tuple[str, int]]]:
    """Utterances of a set that have features, in the manifest's order, and their ids and frames for `search_set`."""
    store = FrameStore.open(run_dir / "features" / set_name)
    utterances = store.present(read_manifest(run_dir / "prepare" / f"{set_name}.jsonl"))
    return utterances, [(item.utterance_id, store.num_frames(item.utterance_id)) for item in utterances]


def recognise(
    run_dir: Path,
    set_name: str,
    scores: NetworkScores,
    search: Search,
    workers: Workers,
    *,
    scratch: Path,
    description: str,
) -> Recognised:
    """The utterances of a set that have features, and the result for each; see `search_set`."""
    utterances, lengths = utterances_to_decode(run_dir, set_name)
    hypotheses = search_set(
        run_dir / "graph",
        lengths,
        scores,
        search,
        workers,
        method=Decoder.decode,
        scratch=scratch,
        description=description,
    )
    return utterances, hypotheses


def write_hypotheses(path: Path, utterances: list[Utterance], hypotheses: list[Hypothesis]) -> None:
    """Write one JSON object per line, as `reporting.run_results.read_decoded` reads them; never half a file."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        for utterance, hypothesis in zip(utterances, hypotheses, strict=True):
            record = {
                "utterance_id": utterance.utterance_id,
                "reference": list(utterance.words),
                "hypothesis": list(hypothesis.words),
                "seconds": utterance.seconds,
                "search_seconds": round(hypothesis.search_seconds, 4),
                "reached_final": hypothesis.reached_final,
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    temporary.replace(path)


def set_wer(utterances: list[Utterance], hypotheses: list[Hypothesis]) -> float:
    """WER of a whole set, 0..1."""
    pairs = zip(utterances, hypotheses, strict=True)
    return total_errors(score_words(item.words, hypothesis.words) for item, hypothesis in pairs).wer
