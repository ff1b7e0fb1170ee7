"""Speech as students hear it: in noise, or by way of a telephone. Pure functions of samples, and frame stores."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.console import SPEECH
from kd_asr.corpora.acoustics import coloured_noise, resample
from kd_asr.corpora.manifest import SETS, Utterance, read_manifest
from kd_asr.errors import UserError
from kd_asr.experiments.heard.settings import Case, HeardSettings
from kd_asr.features.frames import log_mel, normalise, read_audio
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.parallel import parallel_map
from kd_asr.stages.settings import Settings

TELEPHONE_RATE = 8000
# The band of a telephone, in Hz (ITU-T G.712).
_BAND = 300.0, 3400.0
# Companding of ITU-T G.711.
_MU = 255.0


def in_noise(samples: NDArray[np.float32], rng: np.random.Generator, settings: HeardSettings) -> NDArray[np.float32]:
    """Samples with noise whose power falls as 1 / f^a, a from 0 (white) to 2 (brown), at a drawn ratio of powers."""
    snr_db = rng.uniform(settings.least_snr_db, settings.most_snr_db)
    noise = coloured_noise(rng, len(samples), rng.uniform(0.0, 2.0))[: len(samples)]
    power = float(np.mean(samples.astype(np.float64) ** 2))
    return np.asarray(samples + noise * np.sqrt(power / 10 ** (snr_db / 10)), dtype=np.float32)


def by_telephone(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Samples by way of 8 kHz, the band from 300 to 3400 Hz, and 8 bits by the mu-law."""
    narrow = resample(samples.astype(np.float64), rate, TELEPHONE_RATE)
    spectrum = np.fft.rfft(narrow)
    frequencies = np.fft.rfftfreq(len(narrow), 1 / TELEPHONE_RATE)
    spectrum[(frequencies < _BAND[0]) | (frequencies > _BAND[1])] = 0.0
    band = np.fft.irfft(spectrum, len(narrow))
    peak = max(float(np.abs(band).max(initial=0.0)), 1e-9)
    level = np.sign(band) * np.log1p(_MU * np.abs(band) / peak) / np.log1p(_MU)
    heard = np.round(level * 127) / 127
    linear = peak * np.sign(heard) * np.expm1(np.abs(heard) * np.log1p(_MU)) / _MU
    wide = np.zeros(len(samples), dtype=np.float32)
    back = resample(linear, TELEPHONE_RATE, rate)[: len(samples)]
    wide[: len(back)] = back
    return wide


def frames_as_heard(case: Case) -> str:
    """Artifact with the frames that students of a case hear."""
    return "features" if case == "low_latency" else f"heard_features/{case}"


def store_as_heard(run_dir: Path, settings: Settings, case: Case) -> Artifact:
    """Write the frame stores train, dev and test of a case: the run's own utterances, frame for frame."""
    prepared, extracted = load_artifact(run_dir, "prepare"), load_artifact(run_dir, "features")

    def work(folder: Path) -> dict[str, Any]:
        for name in SETS:
            clean = FrameStore.open(extracted.path / name)
            utterances = clean.present(read_manifest(prepared.path / f"{name}.jsonl"))
            counts = [clean.num_frames(one.utterance_id) for one in utterances]
            create_store(folder / name, [one.utterance_id for one in utterances], counts, settings.features)
            by_speaker = sorted(utterances, key=lambda one: (one.speaker_id, one.utterance_id))
            groups = [list(group) for _, group in groupby(by_speaker, lambda one: one.speaker_id)]
            for _ in parallel_map(
                partial(_write, folder=folder / name, case=case, settings=settings),
                groups,
                description=f"{case} {name}",
                unit=SPEECH,
                jobs=settings.jobs,
                amount=lambda group: sum(one.seconds for one in group),
            ):
                pass
        return {}

    heard = settings.privileged
    drawn = {"snr": [heard.least_snr_db, heard.most_snr_db], "seed": settings.seed} if case == "noisy" else {}
    return build_artifact(
        run_dir,
        frames_as_heard(case),
        code=__name__,
        settings={"case": case, "features": settings.features, **drawn},
        inputs=[prepared, extracted],
        work=work,
    )


def _write(group: Sequence[Utterance], *, folder: Path, case: Case, settings: Settings) -> None:
    """The utterances of a speaker, normalised together or one by one as those of the run."""
    store, features = FrameStore(folder, writable=True), settings.features
    blocks = [_frames(one, case, settings, features) for one in group]
    together = features.normalisation != "utterance"
    normalised = normalise(blocks) if together else [normalise([block])[0] for block in blocks]
    for one, block in zip(group, normalised, strict=True):
        if len(block) != store.num_frames(one.utterance_id):
            raise UserError(f"{one.audio_path} has changed since its features were made: run `kd-asr prepare` again")
        store.write(one.utterance_id, block)


def _frames(one: Utterance, case: Case, settings: Settings, features: FeatureSettings) -> NDArray[np.float32]:
    part = {} if one.first_sample is None else {"first_sample": one.first_sample, "num_samples": one.num_samples}
    samples = read_audio(one.audio_path, features.sample_rate, **part)
    if case == "noisy":
        # A generator for each utterance, so that neither order nor number of the others changes its noise.
        rng = np.random.default_rng([settings.seed, zlib.crc32(one.utterance_id.encode())])
        heard = in_noise(samples, rng, settings.privileged)
    else:
        heard = by_telephone(samples, features.sample_rate)
    return np.asarray(log_mel(heard, features), dtype=np.float32)
