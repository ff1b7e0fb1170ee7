"""What the stages show networks: the frames and labels of a run folder as examples, utterances and speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import torch

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import Artifact
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.teachers.base import IndexedTeacher
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.features.inputs import Indexable
from kd_asr.features.masks import MaskedInputs
from kd_asr.features.settings import AugmentSettings
from kd_asr.features.store import FrameStore
from kd_asr.features.vocal_tract import WarpedWindows
from kd_asr.networks.base import view_of
from kd_asr.networks.views import labelled_frames
from kd_asr.stages.settings import Settings
from kd_asr.training.examples import Examples, JoinedInputs


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

    What an example is, a frame in its window or a chunk of frames, the network's view decides.

    Args:
        speech: one set or more.
        settings: of the run.
        posteriors: the teacher's of all utterances, for soft targets.
        measured: they are for `measure`, see `View.examples`.
    """
    names = [name for one in speech for name in one.alignments.utterance_ids]
    pdfs = torch.cat([labels(one.alignments) for one in speech]) if len(speech) > 1 else labels(speech[0].alignments)
    teacher = StoredTeacher(posteriors, names) if posteriors is not None else None
    view = view_of(settings.network)
    seen = [view.examples(one.store, one.alignments.utterance_ids, measured=measured) for one in speech]
    inputs = _joined(speech, [one.inputs for one in seen], settings)
    labelled = labelled_frames(seen, [len(labels(one.alignments)) for one in speech])
    if labelled is None:
        return Examples(inputs, pdfs, teacher)
    frames, counted = labelled
    hard_labels = torch.where(counted, pdfs[frames], UNLABELLED)
    return Examples(inputs, hard_labels, IndexedTeacher(teacher, frames) if teacher is not None else None)


def _joined(
    speech: Sequence[LabelledSpeech], seen: Sequence[Indexable], settings: Settings
) -> Indexable:
    """The inputs of all sets as one, varied where they are to be."""
    return reduce(JoinedInputs, [_varied(one, inputs, settings) for one, inputs in zip(speech, seen, strict=True)])


def _varied(speech: LabelledSpeech, seen: Indexable, settings: Settings) -> Indexable:
    """Inputs warped, then masked, as the set's augmentation says."""
    augment = speech.augment
    if augment is None:
        return seen
    warped = WarpedWindows(seen, augment.vocal_tract_warp, settings.features) if augment.vocal_tract_warp > 0 else seen
    if augment.frequency_mask == augment.time_mask == 0:
        return warped
    return MaskedInputs(warped, augment, num_mel_bins=settings.features.num_mel_bins)


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
