"""Stage `transfer`: perturbed copies of the training set, for students to learn their teachers from.

Hinton, Vinyals and Dean (2015, section 2) train the student on a transfer set, which can be the training set. With
little speech the teachers know that by heart, and their posteriors for it say hardly more than its labels; for copies
they have not seen, the posteriors say what they have learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.alignment.store import Alignment, AlignmentStore, write_alignments
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.config import Settings
from kd_asr.features.perturbation import Perturbation, Spread, copied_frames, draw, perturb
from kd_asr.features.store import FrameStore, create_store
from kd_asr.parallel import parallel_map


@dataclass(frozen=True)
class _Copy:
    """One copy of one utterance."""

    copied_id: str
    utterance_id: str
    perturbation: Perturbation
    frames: int


def transfer(run_dir: Path, settings: Settings) -> Artifact:
    """Write `transfer/frames` and `transfer/alignments`: `distil.copies` copies of every training utterance.

    Copy 1 of the utterance `u` is called `u+1`. With no copies the stores are empty, and the training set is all.
    """
    inputs = [load_artifact(run_dir, name) for name in ("features", "align")]
    distil = settings.distil
    spread = Spread(distil.copy_warp, distil.copy_rate, distil.copy_curve)

    def work(folder: Path) -> dict[str, Any]:
        store = FrameStore.open(run_dir / "features" / "train")
        alignments = AlignmentStore.open(run_dir / "align" / "train")
        copies = []
        for number in range(1, distil.copies + 1):
            for name in alignments.utterance_ids:
                made = draw(spread, seed=settings.seed, utterance_id=name, copy=number)
                frames = copied_frames(store.num_frames(name), made)
                copies.append(_Copy(f"{name}+{number}", name, made, frames))
        create_store(
            folder / "frames", [item.copied_id for item in copies], [item.frames for item in copies], settings.features
        )
        found = parallel_map(
            partial(_write, run_dir=run_dir, folder=folder, settings=settings),
            [copies[first : first + 100] for first in range(0, len(copies), 100)],
            description=f"copies ({distil.copies})",
            unit="frames",
            jobs=settings.jobs,
            amount=lambda group: sum(item.frames for item in group),
        )
        write_alignments(folder / "alignments", [alignment for group in found for alignment in group])
        return {"copies": distil.copies, "utterances": len(copies), "frames": sum(item.frames for item in copies)}

    return build_artifact(
        run_dir,
        "transfer",
        stage="transfer",
        settings={"seed": settings.seed, "copies": distil.copies, "spread": spread},
        inputs=inputs,
        rooms=("features", "alignment"),
        work=work,
    )


def _write(group: list[_Copy], *, run_dir: Path, folder: Path, settings: Settings) -> list[Alignment]:
    """Fill the rows of some copies; their labels."""
    store = FrameStore.open(run_dir / "features" / "train")
    alignments = AlignmentStore.open(run_dir / "align" / "train")
    copied = FrameStore(folder / "frames", writable=True)
    made = []
    for item in group:
        frames, nearest = perturb(store.frames(item.utterance_id), item.perturbation, settings.features)
        copied.write(item.copied_id, frames)
        pdfs = np.asarray(alignments.pdfs(item.utterance_id))[nearest]
        made.append(Alignment(item.copied_id, pdfs, ()))
    return made
