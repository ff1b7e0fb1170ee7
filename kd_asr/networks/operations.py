"""Multiply-adds of a network, counted while it runs.

Matrix products and convolutions are counted, forward and backward, by `torch.utils.flop_counter`; normalisation,
rectification, dropout and softmax are not. Backward, every product is made twice more, for the gradients of weights
and of inputs, except where it sees the inputs themselves, which need no gradient.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kd_asr.features.inputs import Indexable
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.networks.base import Network, new_network, view_of
from kd_asr.registry import Named

_SHORT, _LONG = 32, 64
# The counter's multiply-add is two operations, one multiplication and one addition.
OPERATIONS = 2


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds of a network for one label, a frame or an image.

    Attributes:
        training: Of an update, forward and backward, divided by the labels of its batch. Frames around a stretch, which
            have no label in it, are among them.
        inference: Of one more frame in a long utterance.
    """

    training: float
    inference: float


def on_frames(asked: Named, saved: Network, features: FeatureSettings) -> MultiplyAdds:
    """Multiply-adds of a network that sees frames.

    Args:
        asked: the network as it was asked for, which may be another one while it is trained.
        saved: the trained network.
        features: settings of its frames.
    """
    view = view_of(asked)
    frames = max(_LONG, 2 * view.labels_per_example)
    with tempfile.TemporaryDirectory() as folder:
        store = _store(Path(folder), {"short": _SHORT, "long": _LONG, "train": frames}, features)
        inputs = view.examples(store, ["train"]).inputs
        trained = new_network(asked, inputs, saved.input_shape, saved.num_classes, seed=0)
        training = _of_training(trained, inputs, view.labels_per_example)
        short, long = (_of_inference(saved, saved.own_view.utterances(store, [name])) for name in ("short", "long"))
    return MultiplyAdds(training, (long - short) / (_LONG - _SHORT))


def on_images(asked: Named, saved: Network) -> MultiplyAdds:
    """Multiply-adds of a network that sees images, the rows of a matrix; see `on_frames`."""
    inputs = torch.rand(_SHORT, math.prod(saved.input_shape), generator=torch.Generator().manual_seed(0))
    trained = new_network(asked, inputs, saved.input_shape, saved.num_classes, seed=0)
    return MultiplyAdds(_of_training(trained, inputs, 1), _of_inference(saved, [inputs]) / len(inputs))


def _store(folder: Path, lengths: dict[str, int], features: FeatureSettings) -> FrameStore:
    """Utterances of noise."""
    create_store(folder, list(lengths), list(lengths.values()), features)
    store, generator = FrameStore(folder, writable=True), np.random.default_rng(0)
    for name, frames in lengths.items():
        store.write(name, generator.standard_normal((frames, features.num_mel_bins)).astype(np.float32))
    return store


def _of_training(model: nn.Module, inputs: Indexable, labels_per_example: int) -> float:
    """Multiply-adds for each label of two examples."""
    batch = inputs[torch.arange(min(2, len(inputs)))]
    model.train()
    with torch.random.fork_rng(devices=[]), FlopCounterMode(display=False) as counter:
        model(batch).sum().backward()
    return float(counter.get_total_flops()) / OPERATIONS / (len(batch) * labels_per_example)


def _of_inference(model: nn.Module, batches: Sequence[Tensor]) -> float:
    """Multiply-adds of some batches."""
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for batch in batches:
            model(batch)
    return float(counter.get_total_flops()) / OPERATIONS
