"""Realignment: networks trained on the aligner's targets align everything again, through the same graphs."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.alignment.lexicon import Lexicon, read_lexicon, select
from kd_asr.alignment.settings import AlignSettings
from kd_asr.alignment.store import Alignment, AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.alignment.viterbi import align_utterance
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.console import SPEECH
from kd_asr.corpora.manifest import SETS, Utterance
from kd_asr.decoding.decoder import unpickled_scores
from kd_asr.jobs.systems import NetworkRef
from kd_asr.stages.align_sets import utterances_with_features, write_sets
from kd_asr.stages.plan import FIRST_ALIGNMENT, realignment_jobs
from kd_asr.stages.recognise import NetworkScores, recognising_workers
from kd_asr.stages.settings import Settings
from kd_asr.stages.train import train
from kd_asr.tasks.targets import log_prior


@dataclass(frozen=True)
class _Task:
    """What a worker needs to align; `scores` is pickled, so that a worker keeps what it has loaded."""

    topology: Path
    lexicon: Lexicon
    scores: bytes
    align: AlignSettings


@lru_cache(maxsize=1)
def _topology(path: Path) -> Topology:
    return Topology.load(path)


def _align(item: Utterance, task: _Task) -> Alignment | None:
    return align_utterance(
        item.utterance_id,
        unpickled_scores(task.scores)(item.utterance_id),
        item.words,
        task.lexicon,
        _topology(task.topology),
        settings=task.align,
    )


def realign(run_dir: Path, settings: Settings) -> Artifact:
    """Write `align/`: the best paths of log posterior - log prior, averaged over `align.networks` networks.

    The networks have the teachers' architecture and are trained for `align.network_epochs` epochs. States and tree stay
    those of `FIRST_ALIGNMENT`.
    """
    first = load_artifact(run_dir, FIRST_ALIGNMENT)
    jobs = realignment_jobs(settings)
    names = [job.name for job in jobs]
    described = f"{len(names)} networks to align with"
    networks = train(run_dir, settings, jobs, described)
    inputs = [load_artifact(run_dir, name) for name in ("prepare", "features", "lexicon")]
    aligners = list(map(NetworkRef, names))

    def work(folder: Path) -> dict[str, Any]:
        topology = Topology.load(first.path / "topology.json")
        topology.save(folder / "topology.json")
        sets = {name: utterances_with_features(run_dir, name) for name in SETS}
        words = {word for items in sets.values() for item in items for word in item.words}
        lexicon, missing = select(read_lexicon(run_dir / "lexicon" / "lexicon.txt"), words)
        prior = log_prior(AlignmentStore.open(first.path / "train"), topology.num_pdfs)
        before = {name: _Changed(AlignmentStore.open(first.path / name)) for name in SETS}
        found: dict[str, tuple[list[Utterance], Iterable[Alignment | None]]] = {}
        with recognising_workers(settings) as workers:
            for name, utterances in sets.items():
                average = settings.ensemble.average
                scores = NetworkScores(run_dir, run_dir / "features" / name, aligners, settings, prior, average=average)
                task = _Task(first.path / "topology.json", lexicon, pickle.dumps(scores), settings.align)
                results = workers.map(
                    partial(_align, task=task),
                    utterances,
                    description=f"realign {name}",
                    unit=SPEECH,
                    amount=lambda item: item.seconds,
                )
                found[name] = utterances, before[name].watched(results)
            kept = ("targets", "pdfs", "gaussians", "log_likelihood_per_frame", "steps", "unknown_words")
            metrics = {key: first.metrics[key] for key in kept}
            metrics |= write_sets(folder, run_dir, settings, topology, found, unknown=set(missing))
        changed = {name: one.share() for name, one in before.items()}
        return {**metrics, "networks": len(names), "frames_changed": changed}

    return build_artifact(
        run_dir,
        "align",
        code=__name__,
        settings=decides(settings),
        inputs=[*inputs, first, *networks],
        work=work,
    )


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact."""
    return {
        "align.beam": settings.align.beam,
        "align.retry_beam": settings.align.retry_beam,
        "align.silence_probability": settings.align.silence_probability,
        "train.precision": settings.train.precision,
    }


class _Changed:
    """Counts the frames whose state changes, of utterances that were aligned before and are again."""

    def __init__(self, before: AlignmentStore) -> None:
        self._before = before
        self._present = set(before.utterance_ids)
        self._changed = self._frames = 0

    def watched(self, after: Iterable[Alignment | None]) -> Iterator[Alignment | None]:
        """The new alignments, counted as they pass."""
        for one in after:
            if one is not None and one.utterance_id in self._present:
                self._changed += int((np.asarray(self._before.pdfs(one.utterance_id)) != one.pdfs).sum())
                self._frames += len(one.pdfs)
            yield one

    def share(self) -> float:
        """Share of the frames whose state has changed."""
        return round(self._changed / self._frames, 4) if self._frames else 0.0
