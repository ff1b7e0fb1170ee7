"""Speaker adaptation without transcripts: batch normalisation with statistics of the speaker's own frames.

Y. Li, N. Wang, J. Shi, X. Hou, J. Liu, "Adaptive batch normalization for practical domain adaptation", Pattern
Recognition 80, 2018. A trained network normalises its hidden layers' inputs with the training set's means and
variances, which differ from those of a new speaker. The speaker's own can be measured on any of their speech.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_asr.device import Precision, device_of
from kd_asr.networks.inference import evaluation_mode


class SpeakerStatistics:
    """Networks whose batch normalisation has the statistics of one speaker at a time, or the trained ones.

    The networks are changed in place; each speaker's statistics are kept. Networks without batch normalisation stay as
    they are.
    """

    def __init__(self, models: Sequence[nn.Module], prior_frames: int, *, precision: Precision) -> None:
        """Remember the trained statistics.

        Args:
            models: networks; every batch normalisation layer in them is adapted.
            prior_frames: frames that the trained statistics count for, against the speaker's own. While a layer's
                statistics are measured, the layers below are normalised by the speaker's own alone.
            precision: arithmetic of the matrix products.
        """
        self._models = models
        self._layers = [layer for model in models for layer in _normalisations(model)]
        self._trained = self._statistics()
        self._prior_frames = prior_frames
        self._precision: Precision = precision
        self._of_speaker: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self._current: str | None = None

    def adapt_to(self, speaker: str, speech: Callable[[], tuple[Tensor, int]]) -> None:
        """Use the statistics of a speaker.

        Args:
            speaker: any name.
            speech: called once for each speaker; gives one batch of inputs, and the number of outputs for it. With
                fewer than two outputs the trained statistics are used.
        """
        if speaker == self._current:
            return
        if speaker not in self._of_speaker:
            self._of_speaker[speaker] = self._adapted(*speech())
        self._set_statistics(self._of_speaker[speaker])
        self._current = speaker

    def restore(self) -> None:
        """Use the trained statistics again."""
        self._set_statistics(self._trained)
        self._current = None

    @torch.inference_mode()
    def _adapted(self, inputs: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
        if count < 2:
            return self._trained
        momenta = [layer.momentum for layer in self._layers]
        for model in self._models:
            device = device_of(model)
            with evaluation_mode(model), device.matrix_precision(bf16=device.uses_bf16(self._precision)):
                for layer in _normalisations(model):
                    layer.reset_running_stats()
                    layer.momentum = 1.0  # what is kept is that of this batch alone
                    layer.train()
                model(device.put(inputs))
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
