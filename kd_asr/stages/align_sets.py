"""Stores, rejected utterances and figures of aligned sets, by mixtures or by networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.alignment.compare import Agreement, compare
from kd_asr.alignment.store import Alignment, write_alignments
from kd_asr.alignment.topology import SILENCE, STATES_PER_PHONE, Topology
from kd_asr.console import say
from kd_asr.corpora.base import corpus_of
from kd_asr.corpora.manifest import Rejected, Utterance, read_manifest, write_rejected
from kd_asr.corpora.true_phones import TruePhone, read_true_phones
from kd_asr.errors import UserError
from kd_asr.features.store import FrameStore
from kd_asr.stages.settings import Settings


def write_sets(
    folder: Path,
    run_dir: Path,
    settings: Settings,
    topology: Topology,
    sets: Mapping[str, tuple[Sequence[Utterance], Sequence[Alignment | None]]],
    *,
    unknown: set[str],
) -> dict[str, Any]:
    """Write the stores `train`, `dev` and `test`, and `rejected.tsv` with the utterances that have no alignment.

    Args:
        folder: folder of the artifact that is being made.
        run_dir: folder of the run.
        settings: settings of the run.
        topology: topology of the aligner.
        sets: utterances and alignments of each set; None for an utterance without alignment.
        unknown: words that are not in the lexicon.

    Returns:
        Figures of each set, and `rejected`.

    Raises:
        UserError: a set has no alignment at all.
    """
    metrics: dict[str, Any] = {}
    rejected: list[Rejected] = []
    for name, (utterances, results) in sets.items():
        alignments = [alignment for alignment in results if alignment is not None]
        bad = [item for item, alignment in zip(utterances, results, strict=True) if alignment is None]
        if not alignments:
            raise UserError(f"no utterance of {name} could be aligned: do transcripts and audio belong together?")
        write_alignments(folder / name, alignments)
        rejected += [_reject(item) for item in bad]
        aligned = [item for item, result in zip(utterances, results, strict=True) if result is not None]
        metrics[name] = {
            "silence_probability": _silence_probability(alignments, aligned),
            **_figures(alignments, topology, _truth(settings, name), settings),
            "unknown_words": sum(word in unknown for item in utterances for word in item.words),
            "rejected": len(bad),
        }
    write_rejected(folder / "rejected.tsv", rejected)
    metrics["rejected"] = len(rejected)
    if rejected:
        say(f"{len(rejected)} utterances could not be aligned and are left out: {run_dir}/align/rejected.tsv")
    return metrics


def utterances_with_features(run_dir: Path, set_name: str) -> list[Utterance]:
    """Utterances of the manifest that have features."""
    store = FrameStore.open(run_dir / "features" / set_name)
    return store.present(read_manifest(run_dir / "prepare" / f"{set_name}.jsonl"))


def _reject(item: Utterance) -> Rejected:
    reason = f"cannot be aligned: no path for {len(item.words)} words in {item.seconds:.1f} s of audio"
    return Rejected(item.utterance_id, item.audio_path, reason, "align")


def _silence_probability(alignments: Sequence[Alignment], utterances: Sequence[Utterance]) -> float:
    """Share of the places before, between and after words that have silence, counting one more place with and one
    without it, so that the share is never 0 or 1."""
    silences = sum(segment.phone == SILENCE for item in alignments for segment in item.phones)
    places = sum(len(item.words) + 1 for item in utterances)
    return (silences + 1) / (places + 2)


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
        shift, length = settings.features.frame_shift, settings.features.frame_length_ms / 1000
        agreements = (
            compare(item.phones, truth[item.utterance_id], frame_shift=shift, first_frame=(length - shift) / 2)
            for item in alignments
            if item.utterance_id in truth
        )
        figures["against_true_phones"] = sum(agreements, Agreement()).figures()
    return figures


def _truth(settings: Settings, name: str) -> dict[str, list[TruePhone]] | None:
    """True phone times, which the embedded corpus has."""
    path = corpus_of(settings.corpus).true_phones(name)
    return None if path is None else read_true_phones(path)
