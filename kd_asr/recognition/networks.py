"""Outputs of a recogniser's networks, by whichever engine, and scores for the search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kd_asr.device import HOST, find_device
from kd_asr.features.store import FrameStore
from kd_asr.networks.base import Network
from kd_asr.networks.ensemble import combined_log_posteriors
from kd_asr.networks.files import load_network
from kd_asr.recognition.onnx_files import OnnxNetwork
from kd_asr.recognition.recogniser import Recogniser
from kd_asr.stages.networks import posteriors_of
from kd_asr.stages.speakers import SpeakerAdaptation

# Scores that a worker keeps: words are searched for and then aligned with the same ones.
_KEPT_BYTES = 200_000_000


class LoadedNetworks:
    """The networks of a recogniser, ready to be applied.

    Attributes:
        settings: of the recogniser.
        models: those that torch computes, which can be adapted to speakers.
    """

    def __init__(self, recogniser: Recogniser, features: Mapping[str, object]) -> None:
        """Load the networks for frames with these settings of features.

        Raises:
            UserError: a file is missing or damaged, or its network was trained on other features.
        """
        self.settings = recogniser.settings
        self._stride = recogniser.stride
        self._average = recogniser.average
        self._in_onnx: list[OnnxNetwork] = []
        self.models: list[Network] = []
        if recogniser.engine == "torch":
            device = find_device(self.settings.device)
            self.models = device.put([load_network(path, features) for path in recogniser.engine_files])
        else:
            self._in_onnx = [OnnxNetwork(path, features) for path in recogniser.engine_files]

    @property
    def contexts(self) -> list[tuple[int, int]]:
        """Frames before and after each that its outputs depend on, of every network."""
        views = [*(model.own_view for model in self.models), *(network.own_view for network in self._in_onnx)]
        return [view.context for view in views]

    def log_posteriors(self, store: FrameStore, utterance_id: str) -> NDArray[np.float32]:
        """(frames, pdfs) float32, averaged over the networks; those that learn sequences have every third frame."""
        precision = self.settings.train.precision
        members = posteriors_of(self.models, store, [utterance_id], precision=precision, stride=self._stride)
        for network in self._in_onnx:
            batches = network.own_view.utterances(store, [utterance_id])
            members.append(torch.from_numpy(np.concatenate([network(batch) for batch in batches])[:: self._stride]))
        averaged = combined_log_posteriors([*self.models, *self._in_onnx], members, self._average)
        return np.asarray(HOST.put(averaged).numpy(), dtype=np.float32)


class RecogniserScores:
    """Log-likelihoods of a frame store's utterances, up to a constant for each frame: log posterior - log prior.

    The networks are loaded on first use, so that an object is cheap to send to a worker. With `adapt.prior_frames`
    those of torch are adapted to the speaker; in ONNX the statistics of batch normalisation are part of the weights.
    """

    def __init__(self, recogniser: Recogniser, frames: Path, speakers: Mapping[str, str]) -> None:
        """Prepare the scores for the frame store `frames`; `speakers` has the speaker of each utterance."""
        self._recogniser = recogniser
        self._frames = frames
        self._speakers = speakers
        self._loaded: tuple[LoadedNetworks, FrameStore] | None = None
        self._adaptation: SpeakerAdaptation | None = None
        self._kept: dict[str, NDArray[np.float32]] = {}
        self._room = _KEPT_BYTES

    def __call__(self, utterance_id: str) -> NDArray[np.float32]:
        """(frames, pdfs) float32 scores of an utterance; read only."""
        if utterance_id in self._kept:
            return self._kept[utterance_id]
        networks, store = self._loaded or self._load()
        if self._adaptation is not None:
            self._adaptation.adapt_to(utterance_id)
        likelihoods: NDArray[np.float32] = networks.log_posteriors(store, utterance_id) - self._recogniser.log_prior
        if likelihoods.nbytes <= self._room:
            self._kept[utterance_id] = likelihoods
            self._room -= likelihoods.nbytes
        return likelihoods

    def _load(self) -> tuple[LoadedNetworks, FrameStore]:
        store, settings = FrameStore.open(self._frames), self._recogniser.settings
        self._loaded = LoadedNetworks(self._recogniser, store.features), store
        if settings.adapt.prior_frames > 0 and self._loaded[0].models:
            self._adaptation = SpeakerAdaptation(self._loaded[0].models, store, self._speakers, settings)
        return self._loaded
