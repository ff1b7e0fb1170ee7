"""Frames of speech that is still going on, normalised by what has been heard up to now."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kd_asr.features.frames import counted, log_mel
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import MARGIN, FrameStore
from kd_asr.features.usual_speaker import UsualSpeaker

# Live frames that are waited for at the beginning: a mean of fewer tells nothing of how loud the recording is.
_FIRST_FRAMES = 50
# Below the mean of a usual speaker, in standard deviations: digital silence before anything else was heard.
_QUIET = 2.0
_NAME = "stream"


class OnlineFrames:
    """From samples to normalised frames, with a delay of half a second at the beginning and none after that.

    The mean and variance of all live frames up to now, beside those of the usual speaker while these are few, are what
    new frames are normalised with; frames that were given out stay as they are. As Kaldi's online normalisation, but
    that nothing is forgotten.
    """

    def __init__(self, settings: FeatureSettings, usual: UsualSpeaker | None) -> None:
        """Begin a stream.

        Args:
            settings: of the features; samples come at their rate.
            usual: of the training set; None: it is not known.
        """
        self._settings = settings
        self._usual = usual
        self._shift = int(settings.sample_rate * settings.frame_shift_ms / 1000)
        self._samples = np.zeros(0, dtype=np.float32)
        self._waiting = np.zeros((0, settings.num_mel_bins), dtype=np.float32)
        self._live = np.zeros(0, dtype=bool)
        self._quietest = np.zeros((0, settings.num_mel_bins), dtype=np.float32)
        self._count = 0
        self._sum, self._squares = np.zeros((2, settings.num_mel_bins))
        self._lowest = np.full(settings.num_mel_bins, np.inf, dtype=np.float32)

    def accept(self, samples: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """(frames, bins) float32, the frames that these (samples,) float32 in -1..1 complete; with `last` all that
        wait."""
        self._samples = np.concatenate([self._samples, samples])
        frames = log_mel(self._samples, self._settings)
        # A frame depends on the samples of its window alone.
        self._samples = self._samples[len(frames) * self._shift :]
        # The quietest frame up to now tells what fades into silence.
        *_, chosen = counted([self._quietest, frames])
        live = frames[chosen].astype(np.float64)
        if len(live):
            self._count += len(live)
            self._sum += live.sum(axis=0)
            self._squares += np.square(live).sum(axis=0)
            self._lowest = np.minimum(self._lowest, live.min(axis=0).astype(np.float32))
            known = np.concatenate([self._quietest, frames[chosen]])
            self._quietest = known[known.mean(axis=1).argmin()][None]
        self._waiting = np.concatenate([self._waiting, frames])
        self._live = np.concatenate([self._live, chosen])
        if not last and 0 < self._count < _FIRST_FRAMES:
            return self._waiting[:0]
        ready, self._waiting = self._waiting, self._waiting[:0]
        heard, self._live = self._live, self._live[:0]
        return self._normalised(ready, heard)

    def _normalised(self, frames: NDArray[np.float32], live: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The frames with the mean and variance of now; those that are not live as quiet as the quietest ones."""
        if not self._count:
            return np.full_like(frames, -_QUIET)
        heard = np.where(live[:, None], frames, self._lowest)
        mean = self._sum / self._count
        variance = self._squares / self._count - np.square(mean)
        prior = self._usual.prior(self._count, mean) if self._usual is not None else None
        if prior is not None and prior.count:
            total, own = self._count + prior.count, mean
            mean = (self._count * own + prior.count * prior.mean) / total
            apart = self._count * np.square(own - mean) + prior.count * np.square(prior.mean - mean)
            variance = (self._count * variance + prior.count * prior.variance + apart) / total
        scale = np.where(variance > 1e-10, 1.0 / np.sqrt(np.maximum(variance, 1e-10)), 0.0)
        return np.asarray((heard - mean) * scale, dtype=np.float32)


class StreamStore(FrameStore):
    """The part of a stream that is to be recognised next, as a store with one utterance."""

    def __init__(self, frames: NDArray[np.float32], first: int, count: int, settings: FeatureSettings) -> None:
        """Frames of a stream; those before the first and after the last one are repetitions of these.

        Args:
            frames: (rows, bins) float32.
            first: row of the first frame of the utterance.
            count: its frames.
            settings: of the features.
        """
        self.features = settings.described()
        self.num_mel_bins = settings.num_mel_bins
        self.margin = MARGIN
        self.utterance_ids = [_NAME]
        rows = np.arange(first - MARGIN, first + count + MARGIN).clip(0, len(frames) - 1)
        self.matrix = frames[rows].astype(np.float16)
        self.layout = np.array([[MARGIN, count]], dtype=np.int64)
        self._number = {_NAME: 0}
