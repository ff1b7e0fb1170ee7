"""What the audio and the transcripts of a corpus are like: levels, clipping, silence, bandwidth, copies, characters."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd_asr.corpora.manifest import Utterance
from kd_asr.corpora.sound import SILENCE_LEVEL, UnusableAudio, go_to, mono_blocks, open_sound
from kd_asr.parallel import parallel_map

# Neighbouring samples of one value at the largest level of an utterance, near full scale, were cut off there.
CLIPPED_RUN = 3
CLIPPED_LEVEL = 0.98
# Of telephone speech that was brought to a higher rate, hardly any energy is above the telephone's 4 kHz.
TELEPHONE_HZ = 4000.0
TELEPHONE_SHARE = 1e-6
_SPECTRUM_POINTS = 512
_SPECTRA = 400
_TOGETHER = 64
# Punctuation that transcripts are expected to hold, and the brackets of what is no word.
_PLAIN = frozenset(" .,;:!?'\"-()/&[]<>{}\t\u2019\u2018\u201c\u201d\u2013\u2014\u2026")


@dataclass(frozen=True)
class Sounded:
    """What the audio of an utterance is like.

    Attributes:
        peak: Largest level, 1 is full scale.
        level: Root of the mean square in decibels of full scale.
        clipped: Share of samples in runs that were cut off at full scale, 0..1.
        silent: Share of tenths of a second that never reach -60 dB, 0..1.
        above_telephone: Share of the energy above 4 kHz, 0..1; None at rates that have nothing there.
        digest: Of the samples at 16 bits, whatever file holds them.
    """

    peak: float
    level: float
    clipped: float
    silent: float
    above_telephone: float | None
    digest: str


def survey(utterances: Sequence[Utterance], *, jobs: int = 0) -> list[Sounded | None]:
    """What the audio of each utterance is like; None for one that has become unreadable.

    Args:
        utterances: as a scan found them.
        jobs: processes, 0 for one per core.
    """
    groups = [list(utterances[first : first + _TOGETHER]) for first in range(0, len(utterances), _TOGETHER)]
    found = parallel_map(_survey, groups, description="levels", unit="utterances", jobs=jobs, amount=len)
    return [one for group in found for one in group]


def _survey(utterances: Sequence[Utterance]) -> list[Sounded | None]:
    return [_sounded_file(one) for one in utterances]


def _sounded_file(item: Utterance) -> Sounded | None:
    try:
        with open_sound(item.audio_path) as file:
            if item.first_sample:
                go_to(file, item.first_sample)
            blocks = list(mono_blocks(file, num_samples=item.num_samples))
    except UnusableAudio:
        return None
    return sounded(np.concatenate([*blocks, np.zeros(0, np.float32)]), item.sample_rate)


def sounded(samples: NDArray[np.float32], rate: int) -> Sounded:
    """What (samples,) float32 audio, of one sample at least, is like."""
    loud = np.abs(samples)
    peak = float(loud.max())
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    tenths = np.maximum.reduceat(loud, np.arange(0, len(loud), max(1, rate // 10)))
    whole = np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2")
    return Sounded(
        peak=peak,
        level=10 * float(np.log10(max(power, 1e-12))),
        clipped=_clipped_share(samples, peak),
        silent=float(np.mean(tenths < SILENCE_LEVEL)),
        above_telephone=_share_above(samples, rate, TELEPHONE_HZ),
        digest=hashlib.blake2b(whole.tobytes(), digest_size=12).hexdigest(),
    )


def _clipped_share(samples: NDArray[np.float32], peak: float) -> float:
    """Share of samples in runs of `CLIPPED_RUN` or more at the largest level, of either sign, if it is full scale."""
    if peak < CLIPPED_LEVEL:
        return 0.0
    clipped = 0
    for sign in (1.0, -1.0):
        # A 16-bit file that was cut off at 32767 and one at 32768 are both at full scale.
        at_top = np.concatenate([[False], sign * samples >= peak - 2**-14, [False]])
        edges = np.flatnonzero(at_top[1:] != at_top[:-1])
        lengths = edges[1::2] - edges[::2]
        clipped += int(lengths[lengths >= CLIPPED_RUN].sum())
    return clipped / len(samples)


def _share_above(samples: NDArray[np.float32], rate: int, hertz: float) -> float | None:
    """Share of the energy above a frequency, of spectra spread over the audio; None where the rate holds nothing."""
    if rate / 2 <= 1.25 * hertz or len(samples) < _SPECTRUM_POINTS:
        return None
    last = len(samples) - _SPECTRUM_POINTS
    starts = np.unique(np.linspace(0, last, min(_SPECTRA, 1 + last // _SPECTRUM_POINTS)).astype(int))
    frames = samples[starts[:, None] + np.arange(_SPECTRUM_POINTS)] * np.blackman(_SPECTRUM_POINTS)
    energy = np.square(np.abs(np.fft.rfft(frames, axis=1))).sum(axis=0)
    # A little above, since the filters that change rates are not infinitely steep.
    above = np.fft.rfftfreq(_SPECTRUM_POINTS, 1 / rate) > 1.1 * hertz
    total = float(energy.sum())
    return float(energy[above].sum()) / total if total else None


def copies(utterances: Iterable[tuple[Utterance, Sounded | None]]) -> list[list[Utterance]]:
    """Groups of different utterances with the same samples."""
    groups: dict[tuple[str, int], list[Utterance]] = {}
    for item, sound in utterances:
        if sound is not None:
            groups.setdefault((sound.digest, item.num_samples), []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def unusual_characters(texts: Iterable[str]) -> Counter[str]:
    """Characters of transcripts beside letters without accents, numerals and ordinary punctuation, and their counts."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return Counter({one: count for one, count in counts.items() if not _is_plain(one)})


def _is_plain(character: str) -> bool:
    return character in _PLAIN or (character.isascii() and character.isalnum()) or character.isspace()


def character_name(character: str) -> str:
    """A character with its name in Unicode."""
    name = unicodedata.name(character, f"U+{ord(character):04X}").lower()
    return f"{character} ({name})" if character.isprintable() else name
