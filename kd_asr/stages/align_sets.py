"""Stores, rejected utterances and figures of aligned sets, by mixtures or by networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    sets: Mapping[str, tuple[Sequence[Utterance], Iterable[Alignment | None]]],
    *,
    unknown: set[str],
) -> dict[str, Any]:
    """Write the stores `train`, `dev` and `test`, and `rejected.tsv` with the utterances that have no alignment.

    Args:
        folder: folder of the artifact that is being made.
        run_dir: folder of the run.
        settings: settings of the run.
        topology: topology of the aligner.
        sets: utterances and alignments of each set; None for an utterance without alignment. Each alignment is written
            as it comes, and then forgotten.
        unknown: words that are not in the lexicon.

    Returns:
        Figures of each set, and `rejected`.

    Raises:
        UserError: a set has no alignment at all.
    """
    metrics: dict[str, Any] = {}
    rejected: list[Rejected] = []
    for name, (utterances, results) in sets.items():
        count = _Count(topology, settings, _truth(settings, name))
        bad: list[Rejected] = []

        def aligned(
            utterances: Sequence[Utterance] = utterances,
            results: Iterable[Alignment | None] = results,
            count: _Count = count,
            bad: list[Rejected] = bad,
        ) -> Iterator[Alignment]:
            for item, alignment in zip(utterances, results, strict=True):
                if alignment is None:
                    bad.append(_reject(item))
                else:
                    count.add(item, alignment)
                    yield alignment

        write_alignments(folder / name, aligned())
        if not count.utterances:
            raise UserError(f"no utterance of {name} could be aligned: do transcripts and audio belong together?")
        rejected += bad
        metrics[name] = {
            **count.figures(),
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


class _Count:
    """Figures of a set, counted alignment by alignment."""

    def __init__(self, topology: Topology, settings: Settings, truth: dict[str, list[TruePhone]] | None) -> None:
        self._silence = [topology.pdf(SILENCE, state) for state in range(STATES_PER_PHONE)]
        self._settings = settings
        self._truth = truth
        self._agreements: list[Agreement] = []
        self.utterances = self._frames = self._silent = self._silences = self._places = 0

    def add(self, item: Utterance, alignment: Alignment) -> None:
        """Count an utterance."""
        self.utterances += 1
        self._frames += len(alignment.pdfs)
        self._silent += int(np.isin(alignment.pdfs, self._silence).sum())
        self._silences += sum(segment.phone == SILENCE for segment in alignment.phones)
        self._places += len(item.words) + 1
        if self._truth is not None and alignment.utterance_id in self._truth:
            features = self._settings.features
            shift, length = features.frame_shift, features.frame_length_ms / 1000
            reference = self._truth[alignment.utterance_id]
            first = (length - shift) / 2
            self._agreements.append(compare(alignment.phones, reference, frame_shift=shift, first_frame=first))

    def figures(self) -> dict[str, Any]:
        """Size and share of silence; agreement with the true phone times where they are known.

        `silence_probability` is the share of the places before, between and after words that have silence, counting one
        more place with and one without it, so that it is never 0 or 1.
        """
        figures: dict[str, Any] = {
            "silence_probability": (self._silences + 1) / (self._places + 2),
            "utterances": self.utterances,
            "frames": self._frames,
            "silence_share": round(self._silent / self._frames, 4),
        }
        if self._truth is not None:
            figures["against_true_phones"] = sum(self._agreements, Agreement()).figures()
        return figures


def _truth(settings: Settings, name: str) -> dict[str, list[TruePhone]] | None:
    """True phone times, which the embedded corpus has."""
    path = corpus_of(settings.corpus).true_phones(name)
    return None if path is None else read_true_phones(path)
