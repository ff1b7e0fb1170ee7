"""Random data for benchmarks: speed does not depend on what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from kd_asr.distillation.posterior_store import PosteriorStore, encode, finish_store, write_shard
from kd_asr.distillation.signal import tail_sum, top_k_targets
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.features.windows import FrameWindows
from kd_asr.networks.dnn import DnnSettings


def random_windows(
    folder: Path, utterances: int, frames: int, features: FeatureSettings, network: DnnSettings
) -> FrameWindows:
    """The windows of so many utterances of so many frames each, in a new frame store in `folder`."""
    store = random_store(folder, utterances, frames, features)
    return FrameWindows(
        store, store.utterance_ids, left_context=network.left_context, right_context=network.right_context
    )


def random_store(folder: Path, utterances: int, frames: int, features: FeatureSettings) -> FrameStore:
    """A new frame store in `folder` with so many utterances of so many frames each."""
    names = [f"utterance-{number}" for number in range(utterances)]
    create_store(folder, names, [frames] * utterances, features)
    store = FrameStore(folder, writable=True)
    rng = np.random.default_rng(0)
    for name in names:
        store.write(name, rng.standard_normal((frames, features.num_mel_bins)).astype(np.float32))
    return FrameStore.open(folder)


def random_posterior_store(folder: Path, frames: int, classes: int, top_k: int) -> PosteriorStore:
    """Random posteriors of one utterance, `all`, in shards of 5000 frames, as many as the main job's."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    background = torch.zeros(classes, dtype=torch.float64)
    shards = [len(part) for part in torch.split(torch.arange(frames), 5000)]
    for number, count in enumerate(shards):
        log_probs = (3 * torch.randn(count, classes, generator=generator)).log_softmax(1)
        targets = top_k_targets(log_probs, top_k)
        background += tail_sum(log_probs, targets.classes)
        write_shard(folder, number, [encode(targets)])
    finish_store(
        folder, ["all"], [frames], shard_frames=shards, top_k=top_k, tail_prior=background, fingerprints={}
    )
    return PosteriorStore(folder)
