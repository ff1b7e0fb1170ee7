"""CMU Sphinx's GMM-HMM with its US English model (package pocketsphinx): 5126 senones every 10 ms, and words."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from kd_asr.checksums import content_of
from kd_asr.errors import UserError
from kd_asr.pretrained.base import Heard, Pretrained, Samples, log_softmax, package
from kd_asr.registry import pretrained
from kd_asr.settings.ranges import Above

_HEADER_END = b"endhdr\n"
_ORDER = 0x11223344
# Logarithms of scores are multiples of that of this base, and lack their last bits.
_SHIFT = 10


@dataclass(frozen=True)
class PocketsphinxSettings:
    """CMU Sphinx, with the model, the language model and the dictionary inside the package.

    Attributes:
        lm: Other language model, ARPA or Sphinx's binary format; empty: the package's.
        dict: Other dictionary, phones as in CMUdict without stress; empty: the package's.
        lw: Weight of the language model.
        sharpness: Factor of the senones' log-likelihoods. The Gaussians take the features of a frame for independent,
            so that posteriors of 1 are too sure.
    """

    lm: str = ""
    dict: str = ""
    lw: Annotated[float, Above(0)] = 6.5
    sharpness: Annotated[float, Above(0)] = 1.0


@pretrained("pocketsphinx")
class Pocketsphinx(Pretrained):
    """Senone scores of every frame (`senlogdir`, `compallsen`), and words by its own search."""

    Settings = PocketsphinxSettings
    gives = frozenset({"posteriors", "words"})
    packages = ("pocketsphinx",)
    frame_shift = 0.01

    def __init__(self, settings: PocketsphinxSettings) -> None:
        """Load the package; its two decoders are made when they are used.

        Raises:
            UserError: it is not installed, or a file of the settings is missing.
        """
        super().__init__(settings)
        self._library = package("pocketsphinx")
        missing = next((name for name in (settings.lm, settings.dict) if name and not Path(name).is_file()), None)
        if missing is not None:
            raise UserError(f"pocketsphinx: there is no file {missing}")
        self.num_classes = _senones(Path(self._library.get_model_path()) / "en-us" / "en-us" / "mdef")
        self._scorer: Any = None
        self._recogniser: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def content(cls, settings: PocketsphinxSettings) -> str:
        """Digest of the files of the settings."""
        return content_of([Path(name) for name in (settings.lm, settings.dict) if name])

    def log_posteriors(self, samples: Samples) -> NDArray[np.float32]:
        """(frames, 5126), by Bayes' rule with equal priors from the likelihoods of the senones."""
        if self._scorer is None:
            self._folder = tempfile.TemporaryDirectory(prefix="kd_asr-senones-")
            # The search for one word costs least; the scores are those of all senones whatever is searched.
            self._scorer = self._library.Decoder(
                samprate=self.sample_rate, senlogdir=self._folder.name, compallsen=True, lm=None, keyphrase="and",
                kws_threshold=0.1, loglevel="FATAL",
            )  # fmt: skip
        assert self._folder is not None
        _decode(self._scorer, samples)
        [path] = Path(self._folder.name).iterdir()
        scores, base = read_senone_scores(path)
        path.unlink()
        # Scores are costs: the difference to the best senone of the frame.
        return log_softmax(-self.settings.sharpness * np.log(base) * (1 << _SHIFT) * scores.astype(np.float32))

    def recognise(self, samples: Samples) -> Heard:
        """The words; the confidence is the geometric mean of their posteriors in the word lattice."""
        if self._recogniser is None:
            own = {key: value for key, value in (("lm", self.settings.lm), ("dict", self.settings.dict)) if value}
            self._recogniser = self._library.Decoder(
                samprate=self.sample_rate, lw=self.settings.lw, loglevel="FATAL", **own
            )
        _decode(self._recogniser, samples)
        best = self._recogniser.hyp()
        if best is None or not best.hypstr:
            return Heard("", 0.0)
        spoken = [one.prob for one in self._recogniser.seg() if not one.word.startswith(("<", "[", "+"))]
        return Heard(best.hypstr, float(np.exp(np.log(np.clip(spoken, 1e-10, 1.0)).mean())) if spoken else 0.0)


def _decode(decoder: Any, samples: Samples) -> None:
    pcm = np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int16)
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    decoder.end_utt()


def read_senone_scores(path: Path) -> tuple[NDArray[np.int16], float]:
    """(frames, senones) int16 costs of a file that Sphinx writes into `senlogdir`, and the base of their logarithms.

    A line `key value` each up to `endhdr`, the number 0x11223344 in the machine's order of bytes, then for each frame
    the number of senones and their costs.

    Raises:
        UserError: the file is cut off or none of these.
    """
    content = path.read_bytes()
    head, end, body = content.partition(_HEADER_END)
    fields = dict(line.split(b" ", 1) for line in head.splitlines()[1:] if b" " in line)
    try:
        senones, base = int(fields[b"n_sen"]), float(fields[b"logbase"])
        if not end or np.frombuffer(body[:4], np.uint32)[0] != _ORDER:
            raise ValueError("no header of senone scores")
        rows = np.frombuffer(body[4:], np.int16).reshape(-1, senones + 1)
        if (rows[:, 0] != senones).any():
            raise ValueError("frames without the scores of all senones")
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f"{path} does not hold senone scores: {error}") from error
    return rows[:, 1:], base


def _senones(path: Path) -> int:
    """Number of senones of a binary model definition: mark, version, length of a text, the text, and counts."""
    raw = path.read_bytes()[:4096]
    text = int(np.frombuffer(raw[8:12], np.int32)[0])
    # Context-independent phones, phones, states of a phone, context-independent senones, senones.
    return int(np.frombuffer(raw[12 + text :][:20], np.int32)[4])
