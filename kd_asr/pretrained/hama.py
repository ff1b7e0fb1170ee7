"""hama: a CTC network over phones of the International Phonetic Alphabet (package hama, Apache-2.0)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd_asr.pretrained.base import Pretrained, Samples, log_softmax, package
from kd_asr.registry import pretrained


@dataclass(frozen=True)
class HamaSettings:
    """hama has no settings."""


@pretrained("hama")
class Hama(Pretrained):
    """191 outputs every 20 ms: IPA phones, a boundary of words, and the blank."""

    Settings = HamaSettings
    gives = frozenset({"posteriors"})
    packages = ("hama",)

    def __init__(self, settings: HamaSettings) -> None:
        """Load the network.

        Raises:
            UserError: the package is not installed.
        """
        super().__init__(settings)
        library = package("hama.asr", "hama")
        self._model = library.ASRModel()
        self.sample_rate = self._model.model_sample_rate
        self.frame_shift = library.ASR_OUTPUT_FRAME_SAMPLES / self.sample_rate
        self.num_classes = len(self._model.decoder_tokens)
        self.blanks = (self._model.blank_id,)

    def log_posteriors(self, samples: Samples) -> NDArray[np.float32]:
        """(frames, 191), the blank last."""
        inputs = {"waveform": samples[None], "waveform_lengths": np.array([len(samples)], dtype=np.int64)}
        log_probs, lengths = self._model.session.run(["log_probs", "out_lengths"], inputs)
        return log_softmax(np.asarray(log_probs)[0, : int(np.ravel(lengths)[0])])
