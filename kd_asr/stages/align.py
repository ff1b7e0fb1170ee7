"""Stage `align`: train the aligner from a flat start, then one target (pdf) for every frame of train, dev and test.

With `align.leaves` the aligner goes on from monophones to triphones with tied states, and those are the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.alignment.compare import Agreement, compare
from kd_asr.alignment.lexicon import read_lexicon, select
from kd_asr.alignment.store import Alignment, write_alignments
from kd_asr.alignment.topology import SILENCE, STATES_PER_PHONE, Topology
from kd_asr.alignment.training import AlignerModel
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.config import Settings
from kd_asr.console import say
from kd_asr.corpora.manifest import SETS, Rejected, Utterance, read_manifest, write_rejected
from kd_asr.corpora.true_phones import FILE_NAME, TruePhone, read_true_phones
from kd_asr.errors import UserError
from kd_asr.features.store import FrameStore
from kd_asr.stages.align_training import Task, align_set, remove_progress, train


def align(run_dir: Path, settings: Settings) -> Artifact:
    """Write the aligner, `topology.json`, the alignment stores `train`, `dev` and `test`, and `rejected.tsv`.

    `topology.json` holds the phones, the loop probabilities and, for tied states, the tree that ties them.

    The aligner learns from the training set alone; the two other sets are aligned with it. An utterance without a
    path, such as one that is too short for its transcript, is listed in `rejected.tsv` and left out.

    Raises:
        UserError: a set has no utterance that can be aligned.
    """
    inputs = [load_artifact(run_dir, name) for name in ("prepare", "features", "lexicon")]

    def work(folder: Path) -> dict[str, Any]:
        for name in SETS:
            FrameStore.open(run_dir / "features" / name).check_finite()  # one frame would spoil the whole model
        sets = {name: _utterances(run_dir, name) for name in SETS}
        words = {word for items in sets.values() for item in items for word in item.words}
        lexicon, missing = select(read_lexicon(run_dir / "lexicon" / "lexicon.txt"), words)
        unknown = set(missing)
        phones = tuple((run_dir / "lexicon" / "phones.txt").read_text(encoding="utf-8").split())
        task = Task(run_dir / "features", folder, lexicon, phones, settings)
        steps = train(task, sets["train"])
        model = AlignerModel.load(folder / "model.safetensors")
        model.topology.save(folder / "topology.json")
        metrics: dict[str, Any] = {
            "targets": "monophone states" if model.topology.tree is None else "tied triphone states",
            "pdfs": model.topology.num_pdfs,
            "gaussians": len(model.mixtures.pdf),
            "log_likelihood_per_frame": [step["log_likelihood_per_frame"] for step in steps],
            "steps": steps,
            "unknown_words": len(unknown),
        }
        rejected: list[Rejected] = []
        for name, utterances in sets.items():
            found = align_set(task, name, utterances)
            alignments = [alignment for alignment in found if alignment is not None]
            bad = [item for item, alignment in zip(utterances, found, strict=True) if alignment is None]
            if not alignments:
                raise UserError(f"no utterance of {name} could be aligned: do transcripts and audio belong together?")
            write_alignments(folder / name, alignments)
            rejected += [_reject(item) for item in bad]
            metrics[name] = {
                **_figures(alignments, model.topology, _truth(settings, name), settings),
                "unknown_words": sum(word in unknown for item in utterances for word in item.words),
                "rejected": len(bad),
            }
        write_rejected(folder / "rejected.tsv", rejected)
        metrics["rejected"] = len(rejected)
        if rejected:
            say(f"{len(rejected)} utterances could not be aligned and are left out: {run_dir}/align/rejected.tsv")
        remove_progress(folder)
        return metrics

    return build_artifact(
        run_dir,
        "align",
        stage="align",
        settings={"align": settings.align},
        inputs=inputs,
        rooms=("corpora", "features", "alignment"),
        shared=("align_training",),
        work=work,
    )


def _utterances(run_dir: Path, name: str) -> list[Utterance]:
    """Those of the manifest that have features."""
    present = set(FrameStore.open(run_dir / "features" / name).utterance_ids)
    return [item for item in read_manifest(run_dir / "prepare" / f"{name}.jsonl") if item.utterance_id in present]


def _reject(item: Utterance) -> Rejected:
    reason = f"cannot be aligned: no path for {len(item.words)} words in {item.seconds:.1f} s of audio"
    return Rejected(item.utterance_id, item.audio_path, reason, "align")


def _figures(
    alignments: Sequence[Alignment], topology: Topology, truth: dict[str, list[TruePhone]] | None, settings: Settings
) -> dict[str, Any]:
    """Size and share of silence of a set; agreement with the true phone times where they are known."""
    frames = sum(len(item.pdfs) for item in alignments)
    silence = [topology.pdf(SILENCE, state) for state in range(STATES_PER_PHONE)]
    silent = sum(int(np.isin(item.pdfs, silence).sum()) for item in alignments)
    figures: dict[str, Any] = {
        "utterances": len(alignments),
        "frames": frames,
        "silence_share": round(silent / frames, 4),
    }
    if truth is not None:
        shift, length = settings.features.frame_shift_ms / 1000, settings.features.frame_length_ms / 1000
        agreements = (
            compare(item.phones, truth[item.utterance_id], frame_shift=shift, first_frame=(length - shift) / 2)
            for item in alignments
            if item.utterance_id in truth
        )
        figures["against_true_phones"] = sum(agreements, Agreement()).figures()
    return figures


def _truth(settings: Settings, name: str) -> dict[str, list[TruePhone]] | None:
    """True phone times, which the embedded corpus has."""
    subsets = {"train": settings.corpus.train, "dev": settings.corpus.dev, "test": settings.corpus.test}
    path = Path(settings.corpus.root) / subsets[name] / FILE_NAME
    return read_true_phones(path) if path.is_file() else None
