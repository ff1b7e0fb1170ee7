"""What stages that adapt networks to speakers share: who speaks, and networks that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from torch import nn

from kd_asr.corpora.manifest import read_manifest
from kd_asr.features.store import FrameStore
from kd_asr.networks.adaptation import SpeakerStatistics
from kd_asr.networks.settings import NetworkSettings
from kd_asr.stages.settings import Settings
from kd_asr.stages.speech import speaker_inputs


def speakers_of(run_dir: Path, set_name: str) -> dict[str, str]:
    """The speaker of every utterance of a set."""
    return {item.utterance_id: item.speaker_id for item in read_manifest(run_dir / "prepare" / f"{set_name}.jsonl")}


class SpeakerAdaptation:
    """Networks that follow the speakers of a frame store."""

    def __init__(
        self,
        models: Sequence[nn.Module],
        network: NetworkSettings,
        store: FrameStore,
        speakers: Mapping[str, str],
        settings: Settings,
    ) -> None:
        """Prepare the networks `models` of the architecture `network` for utterances of `store`; `speakers` says who
        speaks in each."""
        self._statistics = SpeakerStatistics(
            models, settings.adapt.prior_frames, precision=settings.train.precision
        )
        self._network = network
        self._store = store
        self._speakers = speakers
        self._most_frames = settings.adapt.most_frames

    def follow(self, utterance_id: str) -> None:
        """Make the networks those of the utterance's speaker."""
        speaker = self._speakers[utterance_id]
        self._statistics.follow(speaker, partial(self._speech, speaker))

    def stretches(self, utterance_ids: Sequence[str]) -> list[list[str]]:
        """Consecutive utterances of the same speaker."""
        return [list(names) for _, names in groupby(utterance_ids, key=self._speakers.__getitem__)]

    def _speech(self, speaker: str) -> tuple[torch.Tensor, int]:
        spoken = [name for name in self._store.utterance_ids if self._speakers.get(name) == speaker]
        return speaker_inputs(self._store, spoken, self._network, most_frames=self._most_frames)
