"""Stage `sequence_targets`: from the alignment to what networks need for training under a sequence criterion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_asr.alignment.store import Alignment, AlignmentStore, write_alignments
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.corpora.manifest import SETS
from kd_asr.features.store import FrameStore
from kd_asr.sequence.denominator import Denominator
from kd_asr.sequence.phone_lm import estimate_phone_lm
from kd_asr.sequence.topology import OneStateTopology
from kd_asr.sequence.tree import left_biphone_tree
from kd_asr.stages.settings import Settings
from kd_asr.tasks.sequences import DENOMINATOR, TOPOLOGY

NAME = "sequence_targets"


def sequence_targets(run_dir: Path, settings: Settings) -> Artifact | None:
    """Write `topology.json`, `denominator.safetensors`, and the alignment stores `train`, `dev` and `test` with the
    topology's pdfs; the tree and the phone language model are those of the training set. Nothing where networks learn
    the frames of `align`."""
    own = settings.sequence
    if settings.targets.artifact != NAME:
        return None

    def work(folder: Path) -> dict[str, Any]:
        aligned = {name: AlignmentStore.open(run_dir / "align" / name) for name in SETS}
        frames = FrameStore.open(run_dir / "features" / "train")
        train = aligned["train"]
        phones = Topology.load(run_dir / "align" / "topology.json").phones
        spoken = [(frames.frames(name), train.phones(name)) for name in train.utterance_ids]
        topology = OneStateTopology(phones, left_biphone_tree(spoken, phones, own))
        topology.save(folder / TOPOLOGY)
        lm = estimate_phone_lm(
            ([item.phone for item in segments] for _, segments in spoken), longer_histories=own.longer_histories
        )
        denominator = Denominator.build(lm, topology)
        denominator.save(folder / DENOMINATOR)
        for name, store in aligned.items():
            write_alignments(folder / name, (_with_pdfs(store, one, topology) for one in store.utterance_ids))
        return {
            "pdfs": topology.num_pdfs,
            "histories": len(lm.arcs),
            "states": denominator.num_states,
            "arcs": len(denominator.sources),
        }

    inputs = [load_artifact(run_dir, name) for name in ("features", "align")]
    return build_artifact(run_dir, NAME, code=__name__, settings=decides(settings), inputs=inputs, work=work)


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact."""
    own = settings.sequence
    return {
        "sequence.leaves": own.leaves,
        "sequence.leaf_min_frames": own.leaf_min_frames,
        "sequence.longer_histories": own.longer_histories,
    }


def _with_pdfs(store: AlignmentStore, utterance_id: str, topology: OneStateTopology) -> Alignment:
    segments = tuple(store.phones(utterance_id))
    return Alignment(utterance_id, topology.labels(segments), segments)
