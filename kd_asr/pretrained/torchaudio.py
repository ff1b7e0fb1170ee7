"""CTC networks of torchaudio's pipelines: wav2vec 2.0 and HuBERT, trained to write characters."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from kd_asr.errors import UserError
from kd_asr.nearest import did_you_mean
from kd_asr.pretrained.base import Heard, Pretrained, Samples, ctc_confidence, log_softmax, package
from kd_asr.registry import pretrained

_BLANK, _SPACE = 0, "|"
# Samples of a frame of all these networks: the product of the strides of their convolutions.
_STRIDE = 320


@dataclass(frozen=True)
class TorchaudioSettings:
    """A pipeline of torchaudio for speech recognition.

    Attributes:
        bundle: Name in `torchaudio.pipelines`, or `package.module:NAME` of a `Wav2Vec2ASRBundle` elsewhere.
    """

    bundle: str = "WAV2VEC2_ASR_BASE_960H"


@pretrained("torchaudio")
class Torchaudio(Pretrained):
    """Posteriors of characters every 20 ms, and the words of the best path."""

    Settings = TorchaudioSettings
    gives = frozenset({"posteriors", "words"})
    packages = ("torchaudio",)
    frame_shift = 0.02

    def __init__(self, settings: TorchaudioSettings) -> None:
        """Load the network; torch.hub downloads it once.

        Raises:
            UserError: there is no such bundle, or it cannot be downloaded.
        """
        super().__init__(settings)
        pipelines = package("torchaudio.pipelines", "torchaudio")
        module, colon, name = settings.bundle.rpartition(":")
        try:
            bundle = getattr(importlib.import_module(module) if colon else pipelines, name)
        except (ImportError, AttributeError) as error:
            known = [one for one in dir(pipelines) if "_ASR_" in one]
            raise UserError(
                f"there is no bundle {settings.bundle}"
                + (did_you_mean(name, known) or f"; there are {', '.join(known)}")
            ) from error
        if not isinstance(bundle, pipelines.Wav2Vec2ASRBundle):
            raise UserError(f"{settings.bundle} is no bundle for speech recognition by CTC")
        try:
            self._network = bundle.get_model()
        except OSError as error:
            raise UserError(f"torchaudio cannot load {settings.bundle}: {error}") from error
        self._labels = bundle.get_labels()
        self.sample_rate = int(bundle.sample_rate)
        self.frame_shift = _STRIDE / self.sample_rate
        self.num_classes = len(self._labels)
        self.blanks = (_BLANK,)

    @torch.inference_mode()
    def log_posteriors(self, samples: Samples) -> NDArray[np.float32]:
        """(frames, characters), the blank first."""
        logits, _ = self._network(torch.from_numpy(samples)[None])
        return log_softmax(logits[0].float().numpy())

    def recognise(self, samples: Samples) -> Heard:
        """The words of the best class of every frame; the confidence is that of `ctc_confidence`."""
        found = self.log_posteriors(samples)
        path = [label for label, _ in groupby(found.argmax(axis=1).tolist()) if label != _BLANK]
        text = "".join(self._labels[label] for label in path).replace(_SPACE, " ")
        return Heard(" ".join(text.split()), ctc_confidence(found, _BLANK))
