"""Posterior stores of single members of an ensemble, for students that learn from each of them.

To ask the members live costs a third of a training step for each, in every update; a store is filled once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import build_artifact, current_artifact, load_artifact
from kd_asr.device import HOST, Device, Precision
from kd_asr.distillation.posterior_store import PosteriorStore, encode, finish_store, write_shard
from kd_asr.distillation.signal import tail_sum, top_k_targets
from kd_asr.features.store import FrameStore
from kd_asr.jobs.job import MODEL
from kd_asr.jobs.systems import Average
from kd_asr.networks.base import Network
from kd_asr.networks.ensemble import average_log_posteriors
from kd_asr.networks.files import load_network
from kd_asr.networks.inference import log_posteriors_of_batch
from kd_asr.parallel import advance, parallel_map
from kd_asr.tasks.speech import LabelledSpeech, Speech, UnlabelledSpeech

FOLDER = "member_posteriors"
# Frames of a group of utterances that are computed together, at least.
_PIECE = 4096


def member_store(network: str) -> str:
    """Artifact of the posteriors of a network of the ensemble."""
    return f"{FOLDER}/{network.rsplit('/', maxsplit=1)[-1]}"


@dataclass(frozen=True)
class _Store:
    """A store to fill: posteriors of a network for what students learn from."""

    run_dir: Path
    network: str
    top_k: int
    unlabelled: bool
    precision: Precision

    def ingredients(self) -> dict[str, Any]:
        """Arguments of `build_artifact` that decide it."""
        added = ("unlabelled", "posteriors") if self.unlabelled else ()  # the latter says which parts are speech
        names = ("features", "align", "transfer", *added, self.network)
        return {
            "code": __name__,
            "settings": {"top_k": self.top_k, "precision": self.precision},
            "inputs": [load_artifact(self.run_dir, name) for name in names],
        }


def fill_member_stores(
    run_dir: Path,
    networks: Sequence[str],
    *,
    wanted: Collection[str],
    top_k: int,
    unlabelled: bool,
    precision: Precision,
    device: Device,
    processes: int,
) -> None:
    """Fill the stores of some networks that are missing, in parallel.

    Args:
        run_dir: folder of the run, which has the ensemble, the copies and, of unlabelled audio, the parts to use.
        networks: artifacts of the ensemble's networks.
        wanted: artifacts that are needed; stores that are not among them are left alone.
        top_k: posteriors to store per frame.
        unlabelled: whether unlabelled audio is among what students learn from.
        precision: of the networks' matrix products.
        device: to compute on.
        processes: to use; 0: one for each core.
    """
    stores = [
        _Store(run_dir, name, top_k, unlabelled, precision) for name in networks if member_store(name) in wanted
    ]
    missing = [
        one for one in stores if current_artifact(run_dir, member_store(one.network), **one.ingredients()) is None
    ]
    for _ in parallel_map(
        partial(_fill, device=device),
        missing,
        description=f"posteriors of {len(missing)} members",
        unit="frames",
        jobs=device.processes(processes),
        amount=lambda one: sum(_frames(speech) for speech in _speech(one)),
        self_reporting=True,
    ):
        pass


def _speech(store: _Store) -> list[Speech]:
    """What students learn from: the training set, its copies, and the parts of unlabelled audio."""
    found: list[Speech] = [
        LabelledSpeech.of_set(store.run_dir, "train"),
        LabelledSpeech.of_copies(load_artifact(store.run_dir, "transfer")),
    ]
    if store.unlabelled:
        found.append(UnlabelledSpeech.of_run(store.run_dir, fraction=1.0))
    return found


def _frames(speech: Speech) -> int:
    return sum(speech.store.num_frames(name) for name in speech.utterance_ids)


def _fill(store: _Store, *, device: Device) -> None:
    ingredients, speech = store.ingredients(), _speech(store)
    extracted, aligned, *_, trained = ingredients["inputs"]

    def work(folder: Path) -> dict[str, Any]:
        model = device.put(load_network(trained.path / f"{MODEL}.safetensors", speech[0].store.features))
        return write_posteriors(
            folder,
            [model],
            [(one.store, one.utterance_ids) for one in speech],
            average="arithmetic",
            top_k=store.top_k,
            num_classes=Topology.load(aligned.path / "topology.json").num_pdfs,
            precision=store.precision,
            fingerprints={
                "features": extracted.fingerprint,
                "align": aligned.fingerprint,
                "network": trained.fingerprint,
            },
        )

    build_artifact(store.run_dir, member_store(store.network), **ingredients, work=work)


def write_posteriors(
    folder: Path,
    models: Sequence[Network],
    sets: Sequence[tuple[FrameStore, Sequence[str]]],
    *,
    average: Average,
    top_k: int,
    num_classes: int,
    precision: Precision,
    fingerprints: Mapping[str, str],
) -> dict[str, Any]:
    """Write the posterior store of some networks together, a shard for each set, and return its metrics.

    Args:
        folder: of the store.
        models: on their device.
        sets: frames, and the utterances among them.
        average: mean of the networks' posteriors.
        top_k: posteriors to store per frame.
        num_classes: outputs of the networks.
        precision: of the matrix products.
        fingerprints: of what the posteriors are made with, as readers expect it.
    """
    tail = torch.zeros(num_classes, dtype=torch.float64)

    def rows(frames: FrameStore, utterance_ids: Sequence[str]) -> Iterator[np.ndarray]:
        nonlocal tail
        for names in _groups(frames, utterance_ids):
            each = [_log_posteriors(model, frames, names, precision) for model in models]
            log_probs = average_log_posteriors(each, average) if len(each) > 1 else each[0]
            targets = top_k_targets(log_probs, top_k)
            tail = tail + HOST.put(tail_sum(log_probs, targets.classes))
            advance(len(log_probs))
            yield encode(targets)

    for number, (frames, utterance_ids) in enumerate(sets):
        write_shard(folder, number, rows(frames, utterance_ids))
    counts = [[frames.num_frames(name) for name in utterance_ids] for frames, utterance_ids in sets]
    finish_store(
        folder,
        [name for _, utterance_ids in sets for name in utterance_ids],
        [count for of_set in counts for count in of_set],
        shard_frames=list(map(sum, counts)),
        top_k=min(top_k, num_classes),
        tail_prior=tail,
        fingerprints=fingerprints,
    )
    made = PosteriorStore(folder)
    return {
        "frames": sum(map(sum, counts)),
        "top_k": made.top_k,
        "bytes_per_frame": made.bytes_per_frame,
        "mass_kept": made.mean_mass_kept(),
    }


def _groups(store: FrameStore, utterance_ids: Sequence[str]) -> Iterator[list[str]]:
    """Consecutive utterances with some thousands of frames together."""
    names: list[str] = []
    count = 0
    for name in utterance_ids:
        names.append(name)
        count += store.num_frames(name)
        if count >= _PIECE:
            yield names
            names, count = [], 0
    if names:
        yield names


def _log_posteriors(model: Network, store: FrameStore, utterance_ids: Sequence[str], precision: Precision) -> Tensor:
    """(frames, classes) float32, utterance after utterance."""
    batches = model.own_view.utterances(store, utterance_ids)
    return torch.cat([log_posteriors_of_batch(model, batch, precision=precision) for batch in batches])
