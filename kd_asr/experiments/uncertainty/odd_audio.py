"""Audio unlike the training data, made on the spot, and speech of the test set beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from kd_asr.corpora.acoustics import coloured_noise, set_level
from kd_asr.corpora.espeak import Voice, speak
from kd_asr.corpora.manifest import Utterance
from kd_asr.features.frames import read_audio, resampled

# What all the others are to be told from.
SPEECH = "speech"
# Speech of the test set by way of the telephone's band.
NARROW_RATE = 8000
_LEVEL_DB = -26.0
_LEAST_SECONDS = 1.0
# Steps of a just major scale, from which chords are built.
_SCALE = (1.0, 9 / 8, 5 / 4, 4 / 3, 3 / 2, 5 / 3, 15 / 8)
# Sentences for each language of espeak-ng. English is there to show what its voice alone does.
SENTENCES: Mapping[str, tuple[str, ...]] = {
    "en-us": (
        "The old man walked slowly to the station because he had missed the early train.",
        "My sister bought two loaves of bread and a small bottle of milk.",
        "Nobody in the village could remember such a cold winter.",
        "We are going to paint the kitchen before our guests arrive.",
    ),
    "de": (
        "Der alte Mann ging langsam zum Bahnhof, weil er den Zug verpasst hatte.",
        "Meine Schwester hat zwei Brote und eine Flasche Milch gekauft.",
    ),
    "fr": (
        "Le petit garçon a laissé son parapluie dans la voiture de sa grand-mère.",
        "Nous avons mangé du pain avec du fromage au bord de la rivière.",
    ),
    "es": (
        "El perro del vecino duerme todo el día debajo de la mesa grande.",
        "Mañana vamos a visitar el mercado antes de que empiece a llover.",
    ),
    "it": (
        "La finestra della cucina era aperta quando è cominciata la pioggia.",
        "Mio fratello lavora ogni giorno in una piccola bottega del centro.",
    ),
    "fi": (
        "Vanha mies käveli hitaasti asemalle, koska hän oli myöhässä junasta.",
        "Ostimme torilta kaksi kiloa perunoita ja pienen purkin hunajaa.",
    ),
}
ENGLISH = "en-us"
_VARIANTS = ("m1", "f2", "m3", "f4")


def write_odd_audio(utterances: Sequence[Utterance], folder: Path, *, rate: int, seed: int) -> dict[str, list[Path]]:
    """WAV files of every kind, as many of each as there are utterances, and as long but for what espeak-ng says.

    Args:
        utterances: of the test set.
        folder: made here, with a folder for each kind.
        rate: Hz, of the networks' features.
        seed: of the noise and the tones.

    Returns:
        files by kind: `SPEECH`, and by short names (see `page.HOW_TO_READ`) what is to be told from it.
    """
    rng = np.random.default_rng(seed)
    speech = [
        read_audio(one.audio_path, rate, first_sample=one.first_sample or 0,
                   num_samples=None if one.first_sample is None else one.num_samples)
        for one in utterances
    ]  # fmt: skip
    lengths = [max(len(one), int(_LEAST_SECONDS * rate)) for one in speech]
    made = {
        SPEECH: speech,
        "8 kHz": [narrowed(one, rate) for one in speech],
        "noise": [set_level(coloured_noise(rng, length, rng.uniform(0.0, 2.0)), _LEVEL_DB) for length in lengths],
        "tones": [set_level(chords(rng, length, rate), _LEVEL_DB) for length in lengths],
    }
    files = {}
    for kind, sounds in made.items():
        files[kind] = [_write(folder, kind, number, sound, rate) for number, sound in enumerate(sounds)]
    others = [language for language in SENTENCES if language != ENGLISH]
    spoken = {"foreign": others, "English": [ENGLISH]}
    for kind, languages in spoken.items():
        sounds_at = _spoken(languages, len(utterances))
        files[kind] = [_write(folder, kind, number, *one) for number, one in enumerate(sounds_at)]
    return files


def narrowed(samples: NDArray[np.floating], rate: int) -> NDArray[np.float32]:
    """Samples without what lies above half of `NARROW_RATE`, as after a chain that works at that rate."""
    down = np.concatenate(list(resampled([samples.astype(np.float32)], rate, NARROW_RATE)))
    up: NDArray[np.float32] = np.concatenate(list(resampled([down], NARROW_RATE, rate)))
    return up[: len(samples)]


def chords(rng: np.random.Generator, num_samples: int, rate: int) -> NDArray[np.float64]:
    """Chords of three notes with eight falling harmonics each, a new one every quarter to half of a second."""
    total = np.zeros(num_samples)
    start = 0
    while start < num_samples:
        length = min(int(rate * rng.uniform(0.25, 0.5)), num_samples - start)
        times = np.arange(length) / rate
        root = 110.0 * 2.0 ** rng.integers(0, 3)
        fade = np.exp(-2.0 * times) * np.minimum(1.0, times * 100.0)
        for step in rng.choice(len(_SCALE), 3, replace=False):
            for harmonic in range(1, 9):
                frequency = root * _SCALE[step] * harmonic
                if frequency < rate / 2:
                    wave = np.sin(2 * np.pi * (frequency * times + rng.random()))
                    total[start : start + length] += fade * wave / harmonic
        start += length
    return total


def _spoken(languages: Sequence[str], count: int) -> list[tuple[NDArray[np.float64], int]]:
    """So many sentences, language after language and voice after voice, as samples and their rate."""
    wanted = [
        (Voice(f"{languages[number % len(languages)]}+{variant}"), sentence)
        for number in range(count)
        for turn in [number // len(languages)]
        for sentences in [SENTENCES[languages[number % len(languages)]]]
        for variant in [_VARIANTS[turn % len(_VARIANTS)]]
        for sentence in [sentences[turn // len(_VARIANTS) % len(sentences)]]
    ]
    found: dict[int, tuple[NDArray[np.float64], int]] = {}
    for voice in dict.fromkeys(voice for voice, _ in wanted):
        numbers = [number for number, (own, _) in enumerate(wanted) if own == voice]
        for number, said in zip(numbers, speak([wanted[number][1] for number in numbers], voice), strict=True):
            samples = np.frombuffer(said.pcm, dtype="<i2").astype(np.float64) / 32768.0
            found[number] = set_level(samples, _LEVEL_DB), said.sample_rate
    return [found[number] for number in range(count)]


def _write(folder: Path, kind: str, number: int, samples: NDArray[np.floating], rate: int) -> Path:
    path = folder / kind.replace(" ", "_") / f"{number:04d}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path
