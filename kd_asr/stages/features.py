"""Stage `features`: audio files to frame stores, on all cores; and the usual speaker of the training set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_array, write_array
from kd_asr.console import SPEECH
from kd_asr.corpora.manifest import SETS, Rejected, Utterance, read_manifest, write_rejected
from kd_asr.corpora.sound import UnusableAudio
from kd_asr.device import HOST, Device, find_device
from kd_asr.features.frames import frames_of_file, moments, normalise, num_frames
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.features.usual_speaker import Moments, UsualSpeaker
from kd_asr.parallel import parallel_map
from kd_asr.stages.settings import Settings

USUAL_SPEAKER_FILE = "usual_speaker.json"


@dataclass(frozen=True)
class _Result:
    """Result of a worker for one group of utterances, whose frames are already in the store."""

    rejected: list[Rejected]
    frames: int
    moments: Moments | None


def _compute(utterance: Utterance, settings: FeatureSettings, device: Device) -> np.ndarray | str:
    """(frames, bins) float32, not normalised and as many as were announced, or the reason why there are none."""
    first = utterance.first_sample
    try:
        # The number of samples of a whole file is compared by way of its frames.
        frames = frames_of_file(
            utterance.audio_path,
            settings,
            first_sample=first or 0,
            num_samples=None if first is None else utterance.num_samples,
            device=device,
        ).frames
    except UnusableAudio as error:
        return str(error)
    expected = num_frames(utterance.num_samples, utterance.sample_rate, settings)
    if len(frames) != expected:
        return f"audio changed since it was prepared: {len(frames)} frames instead of {expected}"
    return frames


def _extract(group: list[Utterance], *, folder: Path, settings: FeatureSettings, device: Device) -> _Result:
    """Compute, normalise together, and write the frames of one speaker (or one utterance)."""
    kept: list[Utterance] = []
    blocks: list[np.ndarray] = []
    rejected: list[Rejected] = []
    for utterance in group:
        outcome = _compute(utterance, settings, device)
        if isinstance(outcome, str):
            rejected.append(Rejected(utterance.utterance_id, utterance.audio_path, outcome, "features"))
        else:
            kept.append(utterance)
            blocks.append(outcome)
    if kept:
        store = FrameStore(folder, writable=True)
        for utterance, frames in zip(kept, normalise(blocks), strict=True):
            store.write(utterance.utterance_id, frames)
    return _Result(rejected, sum(map(len, blocks)), moments(blocks) if blocks else None)


def features(run_dir: Path, settings: Settings) -> Artifact:
    """Make the frame stores `train`, `dev` and `test`; utterances without features are listed in `rejected.tsv`.

    `usual_speaker.json` has the statistics of train that a user's own short files are normalised with.
    """
    prepared = load_artifact(run_dir, "prepare")
    device = find_device(settings.device) if settings.features.filterbank == "torch" else HOST

    def work(folder: Path) -> dict[str, Any]:
        metrics: dict[str, Any] = {}
        rejected: list[Rejected] = []
        for name in SETS:
            utterances = read_manifest(prepared.path / f"{name}.jsonl")
            counts = [num_frames(item.num_samples, item.sample_rate, settings.features) for item in utterances]
            too_short = [item for item, count in zip(utterances, counts, strict=True) if count == 0]
            rejected += [
                Rejected(item.utterance_id, item.audio_path, "shorter than one frame", "features") for item in too_short
            ]
            pairs = [(item, count) for item, count in zip(utterances, counts, strict=True) if count > 0]
            names = [item.utterance_id for item, _ in pairs]
            create_store(folder / name, names, [count for _, count in pairs], settings.features)
            results = list(
                parallel_map(
                    partial(_extract, folder=folder / name, settings=settings.features, device=device),
                    _groups([item for item, _ in pairs], settings.features.normalisation),
                    description=f"features {name}",
                    unit=SPEECH,
                    jobs=device.processes(settings.jobs),
                    amount=lambda group: sum(item.seconds for item in group),
                )
            )
            if name == "train":
                spoken = [one.moments for one in results if one.moments is not None and one.moments.count]
                if spoken:
                    UsualSpeaker.of(spoken).save(folder / USUAL_SPEAKER_FILE)
            bad = [entry for result in results for entry in result.rejected]
            rejected += bad
            _drop(folder / name, {entry.utterance_id for entry in bad})
            metrics[name] = {"frames": sum(result.frames for result in results), "utterances": len(pairs) - len(bad)}
        write_rejected(folder / "rejected.tsv", rejected)
        metrics["rejected"] = len(rejected)
        return metrics

    return build_artifact(
        run_dir,
        "features",
        code=__name__,
        settings=decides(settings),
        inputs=[prepared],
        work=work,
    )


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact."""
    return {"features": settings.features}


def _groups(utterances: list[Utterance], normalisation: str) -> list[list[Utterance]]:
    """Utterances whose frames are normalised together."""
    if normalisation == "utterance":
        return [[item] for item in utterances]
    ordered = sorted(utterances, key=lambda item: (item.speaker_id, item.utterance_id))
    return [list(group) for _, group in groupby(ordered, lambda item: item.speaker_id)]


def _drop(folder: Path, utterance_ids: set[str]) -> None:
    """Remove utterances from a store's list; their rows stay unused."""
    if not utterance_ids:
        return
    names = (folder / "utterances.txt").read_text(encoding="utf-8").split()
    layout = read_array(folder / "layout.npy")
    keep = [name not in utterance_ids for name in names]
    write_array(folder / "layout.npy", layout[np.asarray(keep)])
    kept_names = [name for name, kept in zip(names, keep, strict=True) if kept]
    (folder / "utterances.txt").write_text("".join(f"{name}\n" for name in kept_names), encoding="utf-8")
