"""Stage `align`: train the aligner from a flat start, and give every frame of train, dev and test its target (pdf).

With `align.leaves` the aligner continues from monophones to triphones, whose tied states are the targets.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_asr.alignment.lexicon import read_lexicon, select
from kd_asr.alignment.training import AlignerModel
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.corpora.manifest import SETS
from kd_asr.features.store import FrameStore
from kd_asr.stages.align_sets import utterances_with_features, write_sets
from kd_asr.stages.align_training import Task, align_set, remove_progress, train
from kd_asr.stages.plan import FIRST_ALIGNMENT
from kd_asr.stages.realign import realign
from kd_asr.stages.settings import Settings


def align(run_dir: Path, settings: Settings) -> Artifact:
    """Write `topology.json`, the alignment stores `train`, `dev` and `test`, and `rejected.tsv`.

    With `align.networks`, `mixture_alignment/` is the aligner's own alignment and `align/` that of networks trained on
    it; otherwise `align/` is the aligner's own.

    Raises:
        UserError: a set has no utterance that can be aligned.
    """
    if settings.align.networks == 0:
        return _align_with_mixtures(run_dir, settings, "align")
    _align_with_mixtures(run_dir, settings, FIRST_ALIGNMENT)
    return realign(run_dir, settings)


def _align_with_mixtures(run_dir: Path, settings: Settings, name: str) -> Artifact:
    """Train the aligner and align with it; the artifact `name` also contains the aligner.

    `topology.json` holds the phones, the loop probabilities and, for tied states, the tree that ties them.

    The aligner learns from the training set alone; the two other sets are aligned with it. An utterance without a
    path, such as one that is too short for its transcript, is listed in `rejected.tsv` and left out.

    Raises:
        UserError: a set has no utterance that can be aligned.
    """
    inputs = [load_artifact(run_dir, name) for name in ("prepare", "features", "lexicon")]

    def work(folder: Path) -> dict[str, Any]:
        for set_name in SETS:
            FrameStore.open(run_dir / "features" / set_name).check_finite()  # a single such frame would ruin the model
        sets = {name: utterances_with_features(run_dir, name) for name in SETS}
        words = {word for items in sets.values() for item in items for word in item.words}
        lexicon, missing = select(read_lexicon(run_dir / "lexicon" / "lexicon.txt"), words)
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
            "unknown_words": len(missing),
        }
        found = {name: (utterances, align_set(task, name, utterances)) for name, utterances in sets.items()}
        metrics |= write_sets(folder, run_dir, settings, model.topology, found, unknown=set(missing))
        remove_progress(folder)
        return metrics

    return build_artifact(
        run_dir,
        name,
        code=__name__,
        settings=decides(settings),
        inputs=inputs,
        work=work,
    )


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact."""
    return {"align": replace(settings.align, networks=0, network_epochs=1)}
