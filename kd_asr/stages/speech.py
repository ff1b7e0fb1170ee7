"""What the stages show networks: the frames and labels of a run folder as examples, utterances and speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from pathlib import Path

import torch

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import Artifact
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.teachers.base import IndexedTeacher
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.features.chunks import FrameChunks, whole_utterance
from kd_asr.features.masks import MaskedInputs
from kd_asr.features.settings import AugmentSettings
from kd_asr.features.store import FrameStore
from kd_asr.features.vocal_tract import WarpedWindows
from kd_asr.features.windows import FrameWindows
from kd_asr.networks.inference import Indexable
from kd_asr.networks.settings import NetworkSettings
from kd_asr.stages.settings import Settings
from kd_asr.training.examples import Examples, JoinedInputs

_STEP = 512


def windows(store: FrameStore, utterance_ids: Sequence[str], network: NetworkSettings) -> FrameWindows:
    """The inputs of a DNN for every frame of some utterances."""
    left, right = network.context
    return FrameWindows(store, utterance_ids, left_context=left, right_context=right)


def labels(alignments: AlignmentStore) -> torch.Tensor:
    """(frames,) int32 pdf of every frame of the store, utterance after utterance; mapped, and not to be changed."""
    return torch.from_numpy(alignments.all_pdfs())


@dataclass(frozen=True)
class LabelledSpeech:
    """Frames and their labels.

    Attributes:
        store: the frames.
        alignments: their labels.
        augment: how inputs are varied, anew in each batch; None: they are not.
    """

    store: FrameStore
    alignments: AlignmentStore
    augment: AugmentSettings | None = None

    @classmethod
    def of_set(
        cls, run_dir: Path, set_name: str, *, augment: AugmentSettings | None = None, aligned: str = "align"
    ) -> LabelledSpeech:
        """Train, dev or test of a run, with the labels of the artifact `aligned`."""
        store = FrameStore.open(run_dir / "features" / set_name)
        return cls(store, AlignmentStore.open(run_dir / aligned / set_name), augment)

    @classmethod
    def of_copies(cls, artifact: Artifact, *, augment: AugmentSettings | None = None) -> LabelledSpeech:
        """The copies that `augment` or `transfer` made."""
        folder = artifact.path
        return cls(FrameStore.open(folder / "frames"), AlignmentStore.open(folder / "alignments"), augment)


def examples_of(
    speech: Sequence[LabelledSpeech],
    settings: Settings,
    *,
    posteriors: PosteriorStore | None = None,
    measured: bool = False,
) -> Examples:
    """What a network learns from, or is measured on: all frames, set after set, each in the order of its alignments.

    An example is a frame in its window, or for a TDNN a chunk of frames.

    Args:
        speech: one set or more.
        settings: of the run.
        posteriors: the teacher's of all utterances, for soft targets.
        measured: they are for `measure`, see `frame_chunks`.
    """
    names = [name for one in speech for name in one.alignments.utterance_ids]
    pdfs = torch.cat([labels(one.alignments) for one in speech]) if len(speech) > 1 else labels(speech[0].alignments)
    teacher = StoredTeacher(posteriors, names) if posteriors is not None else None
    if not settings.network.dilations:
        seen = [windows(one.store, one.alignments.utterance_ids, settings.network) for one in speech]
        return Examples(_joined(speech, seen, settings), pdfs, teacher)
    chunks = [frame_chunks(one, settings, measured=measured) for one in speech]
    before = [0, *accumulate(len(labels(one.alignments)) for one in speech)]
    frames = torch.cat([one.frames + first for one, first in zip(chunks, before, strict=False)])
    hard_labels = torch.where(torch.cat([one.counted for one in chunks]), pdfs[frames], UNLABELLED)
    of_chunks = IndexedTeacher(teacher, frames) if teacher is not None else None
    return Examples(_joined(speech, chunks, settings), hard_labels, of_chunks)


def frame_chunks(speech: LabelledSpeech, settings: Settings, *, measured: bool = False) -> FrameChunks:
    """The chunks of a set that a TDNN learns from, or that it is `measured` on: these have all frames of a stretch,
    for it is only in training mode that it has a stride."""
    left, right = settings.network.context
    names = speech.alignments.utterance_ids
    length, stride = settings.train.chunk_frames, settings.train.frame_stride
    if measured:
        length, stride = length * stride, 1
    return FrameChunks(speech.store, names, length=length, left_context=left, right_context=right, stride=stride)


def _joined(
    speech: Sequence[LabelledSpeech], seen: Sequence[FrameWindows | FrameChunks], settings: Settings
) -> Indexable:
    """The inputs of all sets as one, varied where they are to be."""
    return reduce(JoinedInputs, [_varied(one, inputs, settings) for one, inputs in zip(speech, seen, strict=True)])


def _varied(speech: LabelledSpeech, seen: FrameWindows | FrameChunks, settings: Settings) -> Indexable:
    """Inputs warped, then masked, as the set's augmentation says."""
    augment = speech.augment
    if augment is None:
        return seen
    warped = WarpedWindows(seen, augment.vocal_tract_warp, settings.features) if augment.vocal_tract_warp > 0 else seen
    if augment.frequency_mask == augment.time_mask == 0:
        return warped
    return MaskedInputs(warped, augment, num_mel_bins=settings.features.num_mel_bins)


def utterance_inputs(
    store: FrameStore, utterance_ids: Sequence[str], network: NetworkSettings
) -> list[torch.Tensor]:
    """What a network is to be shown for every frame of some utterances: batches whose outputs, one after the other,
    are those of the frames."""
    if not network.dilations:
        seen = windows(store, utterance_ids, network)
        return [seen[torch.arange(len(seen))]]
    left, right = network.context
    return [whole_utterance(store, name, left_context=left, right_context=right) for name in utterance_ids]


def speaker_inputs(
    store: FrameStore, utterance_ids: Sequence[str], network: NetworkSettings, *, most_frames: int
) -> tuple[torch.Tensor, int]:
    """One batch of what a network is to be shown to be measured on a speaker, and the outputs it gives for it.

    Of a speaker's utterances, one after the other, the first `most_frames` frames, or a little less: batches of a
    thousand different sizes would fill memory with kernels.
    """
    if not network.dilations:
        seen = windows(store, utterance_ids, network)
        count = _rounded(min(len(seen), most_frames))
        return seen[torch.arange(count)], count
    left, right = network.context
    parts = [whole_utterance(store, name, left_context=0, right_context=0) for name in utterance_ids]
    joined = torch.cat(parts, dim=1)
    count = _rounded(min(joined.shape[1] - left - right, most_frames))
    return joined[:, : left + count + right], max(0, count)


def _rounded(count: int) -> int:
    return count // _STEP * _STEP if count > _STEP else count


def utterance_chunks(
    alignments: AlignmentStore, frames: int, utterance_ids: Sequence[str] | None = None
) -> list[tuple[list[str], int]]:
    """Consecutive utterances, all or some, and their frames, cut as soon as there are `frames` of them."""
    chunks: list[tuple[list[str], int]] = []
    names: list[str] = []
    count = 0
    for name in alignments.utterance_ids if utterance_ids is None else utterance_ids:
        names.append(name)
        count += len(alignments.pdfs(name))
        if count >= frames:
            chunks.append((names, count))
            names, count = [], 0
    return [*chunks, (names, count)] if names else chunks
