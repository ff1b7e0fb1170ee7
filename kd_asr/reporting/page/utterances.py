"""What the page plays and draws of an utterance: audio, waveform, log-mel frames, times, and posteriors of phones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import without_position
from kd_asr.alignment.tying import base_phone
from kd_asr.alignment.words import words_of_phones
from kd_asr.corpora.manifest import Utterance
from kd_asr.corpora.sound import UnusableAudio
from kd_asr.features.frames import read_audio
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore
from kd_asr.reporting.page.markup import as_json
from kd_asr.reporting.page.posteriors import (
    TEMPERATURES,
    Confusions,
    aligned_phones,
    packed,
    phone_posteriors,
    phones_of_pdfs,
    quantised,
)
from kd_asr.reporting.page.settings import PageSettings
from kd_asr.tasks.targets import load_topology
from kd_asr.text import shown

FOLDER = "utterances"
# Log-mel frames have mean 0 and variance 1 in each bin: what is further away is drawn as the end of the scale.
_FURTHEST = 3.0
_GOLDEN = 0.618033988749895


@dataclass(frozen=True)
class Sources:
    """Where the details of test utterances come from.

    Attributes:
        utterances: Manifest of test.
        frames: Frame store of test.
        alignments: Alignments of test.
        topology: File of the HMMs.
        lexicon: Pronunciations.
        features: Settings with which the frames were made.
        posteriors: By group, (frames, pdfs) natural log-posteriors of an utterance by the group's first system.
    """

    utterances: Sequence[Utterance]
    frames: Path
    alignments: Path
    topology: Path
    lexicon: Lexicon
    features: FeatureSettings
    posteriors: Mapping[str, Callable[[str], NDArray[np.float32]]]


@dataclass(frozen=True)
class Details:
    """What was written.

    Attributes:
        numbers: Number of the file of each utterance, by its id.
        bytes: Size of all files.
        silent: Ids of utterances whose audio cannot be read, with the reason.
        phones: Phones of the posteriors, in order.
        confusions: By group, over all frames of these utterances.
    """

    numbers: dict[str, int]
    bytes: int
    silent: dict[str, str]
    phones: tuple[str, ...]
    confusions: dict[str, Confusions]


NOTHING = Details({}, 0, {}, (), {})


def choose(rates: Mapping[str, float], most: int) -> list[str]:
    """Utterances evenly spaced from the lowest to the highest error rate, in an order in which any beginning is spread
    as well."""
    ordered = sorted(rates, key=lambda name: (rates[name], name))
    places = np.unique(np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round().astype(int))
    spread = sorted(range(len(places)), key=lambda number: (number * _GOLDEN) % 1)
    return [ordered[places[number]] for number in spread]


def write_details(folder: Path, rates: Mapping[str, float], sources: Sources, settings: PageSettings) -> Details:
    """Write `utterances/`: a script with the details, and audio as FLAC, of as many utterances as the settings allow.

    Args:
        folder: of the report.
        rates: errors per word, by utterance.
        sources: where the details come from.
        settings: numbers and sizes.
    """
    if not settings.utterances or not sources.frames.is_dir() or not sources.topology.is_file():
        return NOTHING
    store, alignments = FrameStore.open(sources.frames), AlignmentStore.open(sources.alignments)
    of_id = {item.utterance_id: item for item in store.present(sources.utterances)}
    there = set(alignments.utterance_ids)
    playable = {name: rate for name, rate in rates.items() if name in of_id and name in there}
    names, owners = phones_of_pdfs(load_topology(sources.topology))
    confusions = {group: Confusions(names) for group in sources.posteriors}
    numbers: dict[str, int] = {}
    silent: dict[str, str] = {}
    total, target = 0, folder / FOLDER
    target.mkdir(exist_ok=True)
    for name in choose(playable, settings.utterances):
        number = len(numbers)
        found = _details(of_id[name], store, alignments, sources.lexicon, names)
        frames = len(aligned := aligned_phones(alignments.phones(name), names))
        found["posteriors"] = []
        of_group = {group: scores(name)[:frames] for group, scores in sources.posteriors.items()}
        for scores in of_group.values():
            maps = [phone_posteriors(scores, owners, temperature) for temperature in TEMPERATURES]
            found["posteriors"].append([packed(quantised(one)) for one in maps])
        audio, wave, reason = _audio(of_id[name], frames, sources.features)
        if reason:
            silent[name] = reason
        found |= {"wave": packed(wave), "audio": f"{number:04d}.flac" if not reason else None}
        script = f"kdAsr.arrived({number},{as_json(found)});\n"
        flac = target / f"{number:04d}.flac"
        if not reason:
            soundfile.write(flac, audio, sources.features.sample_rate, subtype="PCM_16")
        size = len(script) + (0 if reason else flac.stat().st_size)
        if total + size > 1e6 * settings.megabytes:
            flac.unlink(missing_ok=True)
            break
        (target / f"{number:04d}.js").write_text(script, encoding="ascii")
        numbers[name], total = number, total + size
        for group, scores in of_group.items():
            confusions[group].add(aligned, phone_posteriors(scores, owners, 1.0))
    return Details(numbers, total, silent, names, confusions)


def _details(
    item: Utterance, store: FrameStore, alignments: AlignmentStore, lexicon: Lexicon, names: Sequence[str]
) -> dict[str, Any]:
    frames, phones = store.frames(item.utterance_id), alignments.phones(item.utterance_id)
    scaled = np.clip((frames + _FURTHEST) / (2 * _FURTHEST), 0, 1)
    return {
        "frames": len(frames),
        "bands": frames.shape[1],
        "mel": packed(np.rint(255 * scaled).astype(np.uint8)),
        "phones": [
            [without_position(one.phone), one.start_frame, one.num_frames, names.index(base_phone(one.phone))]
            for one in phones
        ],
        "words": words_of_phones(phones, item.words, lexicon),
    }


def _audio(
    item: Utterance, frames: int, features: FeatureSettings
) -> tuple[NDArray[np.float32], NDArray[np.uint8], str]:
    """Samples, the largest amplitude in each frame as (frames,) bytes, and why there is no audio, if there is none."""
    rate = features.sample_rate
    try:
        samples = read_audio(item.audio_path, rate, first_sample=item.first_sample or 0, num_samples=item.num_samples)
    except UnusableAudio as error:
        return np.zeros(0, dtype=np.float32), np.zeros(frames, dtype=np.uint8), shown(error)
    shift = round(rate * features.frame_shift)
    heard = np.zeros(frames * shift, dtype=np.float32)
    heard[: len(samples)] = samples[: len(heard)]
    peaks = np.abs(heard).reshape(frames, shift).max(axis=1)
    return samples, np.rint(255 * peaks / max(float(peaks.max(initial=0)), 1e-9)).astype(np.uint8), ""
