"""Speaker adaptation without transcripts: batch normalisation by statistics of the speaker's own frames.

Y. Li, N. Wang, J. Shi, X. Hou, J. Liu, "Adaptive batch normalization for practical domain adaptation", Pattern
Recognition 80, 2018. Means and variances of the hidden layers' inputs are those of the training set, while a speaker's,
who was not in it, are others. They can be measured on any speech of that speaker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_asr.networks.inference import evaluation_mode, matrix_precision, uses_bf16


class SpeakerStatistics:
    """Networks that follow the speaker: each time another one's statistics, or the trained ones.

    The networks are changed in place; what was measured for a speaker is kept. Networks without batch normalisation
    stay as they are.
    """

    def __init__(
        self, models: Sequence[nn.Module], prior_frames: int, *, precision: Literal["auto", "bf16", "fp32"]
    ) -> None:
        """Remember the trained statistics.

        Args:
            models: in which every batch normalisation, of whatever kind, is adapted.
            prior_frames: how many frames the trained statistics count for, against the speaker's own. As a layer's
                statistics depend on the layers below, these are normalised by the speaker's own alone while it is
                measured.
            precision: of the matrix products.
        """
        self._models = models
        self._layers = [layer for model in models for layer in _normalisations(model)]
        self._trained = self._statistics()
        self._prior_frames = prior_frames
        self._precision: Literal["auto", "bf16", "fp32"] = precision
        self._of_speaker: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self._current: str | None = None

    def adapt_to(self, speaker: str, speech: Callable[[], tuple[Tensor, int]]) -> None:
        """Take on the statistics of a speaker.

        Args:
            speaker: any name.
            speech: asked once for each speaker: one batch of inputs, and the outputs that it gives. Fewer than two
                change nothing.
        """
        if speaker == self._current:
            return
        if speaker not in self._of_speaker:
            self._of_speaker[speaker] = self._adapted(*speech())
        self._set_statistics(self._of_speaker[speaker])
        self._current = speaker

    def restore(self) -> None:
        """Take on the trained statistics."""
        self._set_statistics(self._trained)
        self._current = None

    @torch.inference_mode()
    def _adapted(self, inputs: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
        if count < 2:
            return self._trained
        momenta = [layer.momentum for layer in self._layers]
        for model in self._models:
            with evaluation_mode(model), matrix_precision(bf16=uses_bf16(self._precision)):
                for layer in _normalisations(model):
                    layer.reset_running_stats()
                    layer.momentum = None  # what is kept is the mean over batches, and there is one
                    layer.train()
                model(inputs)
        own = self._statistics()
        for layer, momentum in zip(self._layers, momenta, strict=True):
            layer.momentum = momentum
        share = count / (count + self._prior_frames)
        return [
            (trained[0].lerp(mine[0], share), trained[1].lerp(mine[1], share))
            for trained, mine in zip(self._trained, own, strict=True)
        ]

    def _statistics(self) -> list[tuple[Tensor, Tensor]]:
        return [(_mean(layer).clone(), _variance(layer).clone()) for layer in self._layers]

    def _set_statistics(self, statistics: Sequence[tuple[Tensor, Tensor]]) -> None:
        for layer, (mean, variance) in zip(self._layers, statistics, strict=True):
            _mean(layer).copy_(mean)
            _variance(layer).copy_(variance)


def _normalisations(model: nn.Module) -> list[_BatchNorm]:
    """The layers that have statistics of the training set."""
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]


def _mean(layer: _BatchNorm) -> Tensor:
    assert layer.running_mean is not None
    return layer.running_mean


def _variance(layer: _BatchNorm) -> Tensor:
    assert layer.running_var is not None
    return layer.running_var
