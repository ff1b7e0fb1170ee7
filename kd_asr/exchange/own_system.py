"""A system of ours as the recogniser of pseudo-labels."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from kd_asr.artifacts import MANIFEST
from kd_asr.checksums import content_of
from kd_asr.device import HOST
from kd_asr.errors import UserError
from kd_asr.evaluation.confidence import word_confidences
from kd_asr.pretrained.base import Heard, Pretrained, Samples
from kd_asr.recognition.own_audio import open_recogniser, transcribe

_ALTERNATIVES = 20


@dataclass(frozen=True)
class OwnSystemSettings:
    """A trained system.

    Attributes:
        system: Its folder in a run (RUN/distil/student-00, RUN/ensemble), or one that `kd-asr export` wrote.
    """

    system: str = ""


class OwnSystem(Pretrained):
    """Words by the decoding graph of a run; the confidence is the geometric mean of the words' posteriors among
    alternatives."""

    Settings = OwnSystemSettings
    gives = frozenset({"words"})
    packages = ()

    def __init__(self, settings: OwnSystemSettings) -> None:
        """Open the system.

        Raises:
            UserError: there is none, or it cannot recognise.
        """
        super().__init__(settings)
        self._system = Path(settings.system)
        self.sample_rate = open_recogniser(self._system, device=HOST.kind, jobs=1).settings.features.sample_rate

    @classmethod
    def content(cls, settings: OwnSystemSettings) -> str:
        """Digest of the manifests of the system and, of an export folder, of its files."""
        folder = Path(settings.system).absolute()
        found = sorted(one for one in folder.rglob("*") if one.is_file() and one.name == MANIFEST)
        return content_of(found or sorted(one for one in folder.iterdir() if one.is_file()))

    def recognise(self, samples: Samples) -> Heard:
        """The words of one piece."""
        return self.recognise_all([samples])[0]

    def recognise_all(self, pieces: Sequence[Samples]) -> list[Heard]:
        """The words of some pieces, each of which is normalised by itself."""
        with tempfile.TemporaryDirectory(prefix="kd_asr-") as folder:
            files = [Path(folder) / f"{number:06d}.wav" for number in range(len(pieces))]
            for file, samples in zip(files, pieces, strict=True):
                soundfile.write(file, samples, self.sample_rate, subtype="FLOAT")
            timed, failed = transcribe(self._system, files, alternatives=_ALTERNATIVES, jobs=1, device=HOST.kind)
        if len(failed) == len(files):
            raise UserError(f"{self._system} cannot recognise any of {len(files)} pieces: {failed[0].reason}")
        found = {item.file: item for item in timed}
        heard = []
        for file in files:
            confidences = word_confidences(found[file].alternatives) if file in found else []
            text = " ".join(word.word for word in found[file].words) if file in found else ""
            sure = float(np.exp(np.log(np.maximum(confidences, 1e-10)).mean())) if confidences else 0.0
            heard.append(Heard(text, sure))
        return heard
