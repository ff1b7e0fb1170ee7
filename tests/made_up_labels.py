"""Labels of a run in miniature that need no alignment."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd_asr.alignment.store import Alignment, PhoneSegment, write_alignments
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import build_artifact, load_artifact
from kd_asr.features.store import FrameStore
from kd_asr.stages.settings import Settings


def make_aligned(run_dir: Path, settings: Settings) -> None:
    """An `align` artifact whose pdf is decided by the loudest third of the spectrum."""
    extracted = load_artifact(run_dir, "features")

    def work(folder: Path) -> dict[str, int]:
        Topology.uniform(("SIL", "AA")).save(folder / "topology.json")
        for name in ("train", "dev", "test"):
            store = FrameStore.open(extracted.path / name)
            alignments = []
            for utterance in store.utterance_ids:
                thirds = store.frames(utterance)[:, :39].reshape(-1, 3, 13).mean(axis=2)
                pdfs = thirds.argmax(axis=1).astype(np.int32)
                alignments.append(Alignment(utterance, pdfs, (PhoneSegment("SIL", 0, len(pdfs)),)))
            write_alignments(folder / name, alignments)
        return {}

    build_artifact(run_dir, "align", code="kd_asr.stages.features", settings={}, inputs=[extracted], work=work)
