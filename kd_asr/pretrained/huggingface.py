"""CTC networks of Hugging Face's transformers, by name or from a folder: wav2vec 2.0, HuBERT, WavLM and others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kd_asr.checksums import content_of
from kd_asr.errors import UserError
from kd_asr.pretrained.base import Heard, Pretrained, Samples, ctc_confidence, log_softmax, package
from kd_asr.registry import pretrained


@dataclass(frozen=True)
class HuggingFaceSettings:
    """A CTC network of Hugging Face's transformers.

    Attributes:
        model: Name on the hub, such as facebook/wav2vec2-base-960h, or a folder that `save_pretrained` wrote.
        revision: Branch, tag or commit on the hub; empty: the newest, which may change.
    """

    model: str = "facebook/wav2vec2-base-960h"
    revision: str = ""


@pretrained("huggingface")
class HuggingFace(Pretrained):
    """Posteriors of a CTC network's characters or phones, and the words of its best path."""

    Settings = HuggingFaceSettings
    gives = frozenset({"posteriors", "words"})
    packages = ("transformers",)

    def __init__(self, settings: HuggingFaceSettings) -> None:
        """Load, and if need be download, the network.

        Raises:
            UserError: transformers is not installed, or there is no such CTC network.
        """
        super().__init__(settings)
        library = package("transformers")
        options = {"revision": settings.revision} if settings.revision else {}
        try:
            self._extract = library.AutoFeatureExtractor.from_pretrained(settings.model, **options)
            self._network = library.AutoModelForCTC.from_pretrained(settings.model, **options).eval()
            self._tokens = library.AutoTokenizer.from_pretrained(settings.model, **options)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{settings.model} cannot be loaded as a CTC network of transformers: {error}") from error
        config = self._network.config
        self.sample_rate = int(self._extract.sampling_rate)
        self.frame_shift = config.inputs_to_logits_ratio / self.sample_rate
        self.num_classes = int(config.vocab_size)
        self.blanks = (int(config.pad_token_id),)  # the blank

    @classmethod
    def content(cls, settings: HuggingFaceSettings) -> str:
        """Digest of a folder's files; of a name on the hub nothing, see `revision`."""
        folder = Path(settings.model)
        return content_of(sorted(one for one in folder.iterdir() if one.is_file())) if folder.is_dir() else ""

    @torch.inference_mode()
    def log_posteriors(self, samples: Samples) -> NDArray[np.float32]:
        """(frames, vocabulary)."""
        given: Any = self._extract(samples, sampling_rate=self.sample_rate, return_tensors="pt")
        logits: NDArray[np.float32] = self._network(given.input_values).logits[0].float().numpy()
        return log_softmax(logits)

    def recognise(self, samples: Samples) -> Heard:
        """The words of the best class of every frame; the confidence is that of `ctc_confidence`."""
        found = self.log_posteriors(samples)
        text = self._tokens.batch_decode(found.argmax(axis=1)[None])[0]
        return Heard(str(text), ctc_confidence(found, self.blanks[0]))
