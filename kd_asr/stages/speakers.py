"""Speakers of utterances, and networks that are adapted to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import torch

from kd_asr.corpora.manifest import read_manifest
from kd_asr.features.store import FrameStore
from kd_asr.networks.adaptation import SpeakerStatistics
from kd_asr.networks.base import Network
from kd_asr.networks.views import View
from kd_asr.stages.settings import Settings


def speakers_of(run_dir: Path, set_name: str) -> dict[str, str]:
    """The speaker of every utterance of a set."""
    return {item.utterance_id: item.speaker_id for item in read_manifest(run_dir / "prepare" / f"{set_name}.jsonl")}


class SpeakerAdaptation:
    """Networks that are adapted to the speakers of a frame store."""

    def __init__(
        self,
        models: Sequence[Network],
        store: FrameStore,
        speakers: Mapping[str, str],
        settings: Settings,
    ) -> None:
        """Prepare `models` for the utterances of `store`; `speakers` has the speaker of each."""
        by_view: dict[View, list[Network]] = {}
        for model in models:
            by_view.setdefault(model.own_view, []).append(model)
        self._statistics = [
            (view, SpeakerStatistics(seeing, settings.adapt.prior_frames, precision=settings.train.precision))
            for view, seeing in by_view.items()
        ]
        self._store = store
        self._speakers = speakers
        self._most_frames = settings.adapt.most_frames

    def adapt_to(self, utterance_id: str) -> None:
        """Adapt the networks to the speaker of an utterance."""
        speaker = self._speakers[utterance_id]
        for view, statistics in self._statistics:
            statistics.adapt_to(speaker, partial(self._speech, speaker, view))

    def stretches(self, utterance_ids: Sequence[str]) -> list[list[str]]:
        """Runs of consecutive utterances of the same speaker."""
        return [list(names) for _, names in groupby(utterance_ids, key=self._speakers.__getitem__)]

    def _speech(self, speaker: str, view: View) -> tuple[torch.Tensor, int]:
        spoken = [name for name in self._store.utterance_ids if self._speakers.get(name) == speaker]
        return view.speaker(self._store, spoken, most_frames=self._most_frames)
