"""Perturbed copies of the training set, frames and labels, as an artifact of the stages `augment` and `transfer`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from kd_asr.alignment.store import Alignment, AlignmentStore, write_alignments
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.features.perturbation import Perturbation, Spread, copied_frames, draw, perturb
from kd_asr.features.store import FrameStore, create_store
from kd_asr.parallel import parallel_map
from kd_asr.stages.settings import Settings


@dataclass(frozen=True)
class _Copy:
    """One copy of one utterance."""

    copied_id: str
    utterance_id: str
    perturbation: Perturbation
    frames: int


def spread_of_copies(settings: Settings) -> Spread:
    """Ranges from which the perturbations of the transfer set are drawn."""
    distil = settings.distil
    return Spread(distil.copy_warp, distil.copy_rate, distil.copy_curve)


def copied_training_set(
    run_dir: Path,
    settings: Settings,
    stage: str,
    decides: Mapping[str, Any],
    *,
    copies: int,
    spread: Spread,
    seed: int,
    mark: str,
) -> Artifact:
    """Write `<stage>/frames` and `<stage>/alignments` with copies of every training utterance.

    Copy 1 of the utterance `u` has the id `u`, `mark`, `1`. Without copies the stores are empty.

    Args:
        run_dir: folder of the run.
        settings: of the run.
        stage: name of the stage.
        decides: what of the settings decides the artifact.
        copies: of every utterance.
        spread: of their perturbations.
        seed: draws the perturbations.
        mark: between the id of an utterance and the number of its copy.
    """
    inputs = [load_artifact(run_dir, name) for name in ("features", settings.targets.artifact)]

    def work(folder: Path) -> dict[str, Any]:
        store = FrameStore.open(run_dir / "features" / "train")
        alignments = AlignmentStore.open(run_dir / settings.targets.artifact / "train")
        made = []
        for number in range(1, copies + 1):
            for name in alignments.utterance_ids:
                perturbation = draw(spread, seed=seed, utterance_id=name, copy=number)
                frames = copied_frames(store.num_frames(name), perturbation)
                made.append(_Copy(f"{name}{mark}{number}", name, perturbation, frames))
        create_store(
            folder / "frames", [item.copied_id for item in made], [item.frames for item in made], settings.features
        )
        groups = [made[first : first + 100] for first in range(0, len(made), 100)]
        copied = parallel_map(
            partial(_write, run_dir=run_dir, folder=folder, settings=settings),
            groups,
            description=f"{stage}: copies of the training set",
            unit="frames",
            jobs=settings.jobs,
            amount=lambda group: sum(item.frames for item in group),
        )
        write_alignments(folder / "alignments", chain.from_iterable(copied if groups else []))
        return {"copies": copies, "utterances": len(made), "frames": sum(item.frames for item in made)}

    return build_artifact(
        run_dir,
        stage,
        code=__name__,
        settings=dict(decides),
        inputs=inputs,
        work=work,
    )


def _write(group: list[_Copy], *, run_dir: Path, folder: Path, settings: Settings) -> list[Alignment]:
    """Write the frames of some copies; return their labels."""
    store = FrameStore.open(run_dir / "features" / "train")
    alignments = AlignmentStore.open(run_dir / settings.targets.artifact / "train")
    copying = settings.targets.copying(run_dir)
    copied = FrameStore(folder / "frames", writable=True)
    made = []
    for item in group:
        frames, nearest = perturb(store.frames(item.utterance_id), item.perturbation, settings.features)
        copied.write(item.copied_id, frames)
        made.append(copying(item.copied_id, alignments, item.utterance_id, nearest))
    return made
