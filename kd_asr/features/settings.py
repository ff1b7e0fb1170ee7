"""Settings of the acoustic features and of their variation in training."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from kd_asr.settings.ranges import AbsentMeans, AtLeast, AtMost, Below, Unit


@dataclass(frozen=True)
class FeatureSettings:
    """Log-mel filterbank outputs, computed as Kaldi does.

    Attributes:
        sample_rate: Sample rate of the features' audio; audio at other rates is resampled.
        num_mel_bins: Filterbank outputs per frame.
        frame_length_ms: Length of the analysis window.
        frame_shift_ms: Step from one frame to the next.
        normalisation: Frames that are normalised together, to mean 0 and variance 1: those of a `speaker` or of an
            `utterance`.
        energy_floor: Frames none of whose filters has more energy than this, in the units of Kaldi's option of this
            name (squares of 16-bit steps), are digital silence: they take no part in the normalisation. Noise of one
            step, which programs add to silence as dither, has up to 16,000, and so have pauses of quiet recordings. 0:
            only frames without any sound are.
        filterbank: What computes them: `kaldi`, Kaldi's own code on the processor, or `torch`, torchaudio on the device
            of the run, equal to 1e-3.
    """

    sample_rate: Annotated[int, AtLeast(8000), AtMost(384_000), Unit("Hz")] = 16000
    num_mel_bins: Annotated[int, AtLeast(10), AtMost(500)] = 40
    frame_length_ms: Annotated[float, AtMost(1000), Unit("milliseconds")] = 25.0
    frame_shift_ms: Annotated[float, AtLeast(1), AtMost(1000), Unit("milliseconds")] = 10.0
    normalisation: Literal["speaker", "utterance"] = "speaker"
    energy_floor: Annotated[float, AtLeast(0), AtMost(1e9), AbsentMeans(0.0)] = 0.0
    filterbank: Annotated[Literal["kaldi", "torch"], AbsentMeans("kaldi")] = "kaldi"

    def described(self) -> dict[str, object]:
        """The settings as files keep them beside frames and networks, which a floor of 0 leaves as they were. Frames of
        either filterbank are the same to a network."""
        left_out = {"filterbank"} if self.energy_floor else {"filterbank", "energy_floor"}
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame to the next: of a whole number of samples, so that no time drifts."""
        return int(self.sample_rate * self.frame_shift_ms / 1000) / self.sample_rate

    def problems(self) -> list[str]:
        """Settings that contradict each other."""
        if self.sample_rate * self.frame_length_ms < 2000:
            return [f"frame_length_ms: {self.frame_length_ms} is less than two samples"]
        most = next((bins for bins in range(self.num_mel_bins, 0, -1) if self._fills(bins)), 0)
        if self.num_mel_bins > most:
            return [
                f"num_mel_bins: {self.num_mel_bins} is more than {most}; with more, windows of "
                f"{self.frame_length_ms:g} ms at {self.sample_rate} Hz leave some of the filters without a frequency"
            ]
        if self.frame_length_ms < self.frame_shift_ms:
            return [f"frame_length_ms: {self.frame_length_ms} is less than frame_shift_ms, {self.frame_shift_ms}"]
        return []

    def _fills(self, bins: int) -> bool:
        """Whether each of so many mel filters, from 20 Hz to half the sample rate, has a frequency of the spectrum."""
        window = int(self.sample_rate * self.frame_length_ms / 1000)
        points = 1 << (window - 1).bit_length()  # Kaldi rounds up to a power of two
        spectrum = [_mel(self.sample_rate / points * index) for index in range(points // 2)]
        lowest, highest = _mel(20.0), _mel(self.sample_rate / 2)
        step = (highest - lowest) / (bins + 1)
        edges = [lowest + step * index for index in range(bins + 2)]
        above = [bisect_right(spectrum, left) for left in edges[:-2]]
        return all(
            first < len(spectrum) and spectrum[first] < right for first, right in zip(above, edges[2:], strict=True)
        )


def _mel(hertz: float) -> float:
    return 1127.0 * math.log1p(hertz / 700.0)


@dataclass(frozen=True)
class AugmentSettings:
    """Variation of the training data.

    Attributes:
        vocal_tract_warp: Largest change of the frequency axis (vocal tract length perturbation, Jaitly and Hinton
            2013): 0.1 warps windows by factors from 0.9 to 1.1, drawn for every batch; 0: none.
        frequency_mask: Widest band of filterbank outputs to hide in each window or chunk (SpecAugment, Park and others
            2019); 0: none.
        time_mask: Longest stretch of frames to hide in each window or chunk; 0: none.
        copies: Copies of the training set at other rates of speech for baseline and teachers, who learn from them in
            the same number of updates. For the students' copies, see `distil.copies`.
        copy_rate: Largest change of a copy's rate of speech: 0.1 draws each utterance's rate from 0.9 to 1.1.
    """

    vocal_tract_warp: Annotated[float, AtLeast(0), Below(1)] = 0.0
    frequency_mask: Annotated[int, AtLeast(0), AtMost(500), Unit("filterbank outputs")] = 0
    time_mask: Annotated[int, AtLeast(0), AtMost(1_000_000), Unit("frames")] = 0
    copies: Annotated[int, AtLeast(0), AtMost(1000)] = 0
    copy_rate: Annotated[float, AtLeast(0), Below(1)] = 0.1
