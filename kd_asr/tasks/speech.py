"""Speech as a task: frames and labels of a run folder as examples for training and evaluation."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, load_artifact
from kd_asr.corpora.subsets import subset_of_frames, subset_of_utterances
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.teachers.base import Teacher
from kd_asr.features.inputs import Indexable, Rows, joined_rows
from kd_asr.features.masks import MaskedInputs
from kd_asr.features.parts import read_parts
from kd_asr.features.settings import AugmentSettings, FeatureSettings
from kd_asr.features.store import FrameStore
from kd_asr.features.vocal_tract import WarpedWindows
from kd_asr.jobs.job import Job, Material
from kd_asr.networks.base import view_of
from kd_asr.networks.views import labelled_frames
from kd_asr.registry import Named
from kd_asr.settings.ranges import AbsentMeans, DecidesNothing
from kd_asr.tasks.labelled_subset import LabelledSubset, evenly_spaced
from kd_asr.training.examples import Examples, JoinedInputs, Mixture

# The parts of unlabelled audio that are learnt from, beside the posteriors of their frames.
PARTS = "unlabelled.tsv"
# Labelled frames whose accuracy is monitored during training.
_FOLLOWED = 10_000


def labels(alignments: AlignmentStore) -> Tensor:
    """(frames,) int32 pdf of every frame of the store, utterance after utterance; memory-mapped, read only."""
    return torch.from_numpy(alignments.all_pdfs())


@dataclass(frozen=True)
class LabelledSpeech:
    """Frames and their labels.

    Attributes:
        store: The frames.
        alignments: Their labels.
        augment: Variation of the inputs, drawn for each batch; None: no variation.
    """

    store: FrameStore
    alignments: AlignmentStore
    augment: AugmentSettings | None = None

    @property
    def utterance_ids(self) -> list[str]:
        """Utterances, in the order of their frames."""
        return self.alignments.utterance_ids

    @property
    def hard_labels(self) -> Tensor:
        """(frames,) int32 pdfs."""
        return labels(self.alignments)

    @classmethod
    def of_set(
        cls, run_dir: Path, set_name: str, *, augment: AugmentSettings | None = None, aligned: str = "align"
    ) -> LabelledSpeech:
        """Train, dev or test of a run, with the labels of the artifact `aligned`."""
        store = FrameStore.open(run_dir / "features" / set_name)
        return cls(store, AlignmentStore.open(run_dir / aligned / set_name), augment)

    @classmethod
    def of_copies(cls, artifact: Artifact, *, augment: AugmentSettings | None = None) -> LabelledSpeech:
        """Copies from an artifact of `augment` or `transfer`."""
        folder = artifact.path
        return cls(FrameStore.open(folder / "frames"), AlignmentStore.open(folder / "alignments"), augment)


@dataclass(frozen=True)
class UnlabelledSpeech:
    """Frames without labels.

    Attributes:
        store: The frames.
        augment: Variation of the inputs, drawn for each batch; None: no variation.
    """

    store: FrameStore
    augment: AugmentSettings | None = None

    @classmethod
    def of_run(cls, run_dir: Path, *, fraction: float, augment: AugmentSettings | None = None) -> UnlabelledSpeech:
        """The parts of a run's unlabelled audio that are no long silence.

        Args:
            run_dir: folder of the run.
            fraction: share of the pieces that is used, within larger shares.
            augment: variation of the inputs.
        """
        parts = read_parts(run_dir / "posteriors" / PARTS)
        store = FrameStore.open(run_dir / "unlabelled" / "frames")
        if fraction < 1:
            chosen = _nested_share({piece_of(name) for name in store.utterance_ids}, fraction)
            parts = [one for one in parts if piece_of(one.utterance_id) in chosen]
        return cls(store.with_parts(parts), augment)

    @property
    def utterance_ids(self) -> list[str]:
        """Parts, in the order of their frames."""
        return self.store.utterance_ids

    @property
    def hard_labels(self) -> Tensor:
        """(frames,) int32, all `UNLABELLED`; one number, however many frames there are."""
        return torch.tensor(UNLABELLED, dtype=torch.int32).expand(int(self.store.layout[:, 1].sum()))


def piece_of(utterance_id: str) -> str:
    """A piece of unlabelled audio, or the one that it is a copy of."""
    return re.sub(r"\+\d+$", "", utterance_id)


def _nested_share(names: Collection[str], fraction: float) -> set[str]:
    """A share of some names, spread over all of them; it lies within every larger share."""
    ordered = sorted(names, key=lambda name: (zlib.crc32(name.encode()), name))
    return set(ordered[: round(fraction * len(ordered))])


Speech = LabelledSpeech | UnlabelledSpeech


def examples_of(
    speech: Sequence[Speech],
    network: Named,
    *,
    teach: Callable[[Sequence[str]], Teacher | None] = lambda utterance_ids: None,
    evaluation: bool = False,
    labelled_share: float | None = None,
) -> Examples:
    """Examples for a network: all frames, set after set, each in the order of its utterances.

    The network's view decides whether an example is a frame in its window or a chunk of frames.

    Args:
        speech: one set or more, labelled ones first.
        network: network that sees the examples.
        teach: opens a teacher for the utterances of all sets, if there is one.
        evaluation: whether they are for `measure`, see `View.examples`.
        labelled_share: share of labelled examples in every batch; None, or with sets of one kind alone: as they come.
    """
    names = [name for one in speech for name in one.utterance_ids]
    pdfs = joined_rows([one.hard_labels for one in speech])
    teacher = teach(names)
    view = view_of(network)
    seen = [view.examples(one.store, one.utterance_ids, evaluation=evaluation) for one in speech]
    inputs = _joined(speech, [one.inputs for one in seen])
    labelled = labelled_frames(seen, [len(one.hard_labels) for one in speech])
    first = sum(len(one.inputs) for one, of_set in zip(seen, speech, strict=True) if isinstance(of_set, LabelledSpeech))
    mixed = labelled_share is not None and 0 < first < len(inputs)
    mixture = Mixture(first, labelled_share) if mixed and labelled_share is not None else None
    if labelled is None:
        return Examples(inputs, pdfs, teacher, mixture=mixture)
    frames, counted = labelled
    chunks = _LabelsOfChunks(frames, counted, pdfs)
    return Examples(inputs, chunks, teacher, frames if teacher is not None else None, mixture)


@dataclass(frozen=True)
class _LabelsOfChunks:
    """(chunks, labels) int32 pdfs by chunk; `UNLABELLED` where a frame does not count.

    Attributes:
        frames: (chunks, labels) int64.
        counted: (chunks, labels) bool.
        pdfs: (frames,) int32.
    """

    frames: Rows
    counted: Rows
    pdfs: Rows

    @property
    def shape(self) -> Sequence[int]:
        """Chunks, and labels of each."""
        return self.frames.shape

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, chunks: Tensor) -> Tensor:
        frames = self.frames[chunks]
        return torch.where(self.counted[chunks], self.pdfs[frames.flatten()].view(frames.shape), UNLABELLED)


def _joined(speech: Sequence[Speech], seen: Sequence[Indexable]) -> Indexable:
    """Inputs of all sets, concatenated, with their variation."""
    return reduce(JoinedInputs, [_varied(one, inputs) for one, inputs in zip(speech, seen, strict=True)])


def _varied(speech: Speech, seen: Indexable) -> Indexable:
    """Inputs warped and then masked, according to the set's augmentation."""
    augment = speech.augment
    if augment is None:
        return seen
    features = FeatureSettings(**speech.store.features)  # type: ignore[arg-type]
    warped = WarpedWindows(seen, augment.vocal_tract_warp, features) if augment.vocal_tract_warp > 0 else seen
    if augment.frequency_mask == augment.time_mask == 0:
        return warped
    return MaskedInputs(warped, augment, num_mel_bins=features.num_mel_bins)


@dataclass(frozen=True)
class SpeechSubset:
    """A subset of the training set.

    Attributes:
        frames: (labelled,) int64, numbers of its frames among all training frames, ascending.
        utterance_ids: Utterances of these frames.
    """

    frames: Tensor
    utterance_ids: list[str]


def draw_subset(alignments: AlignmentStore, subset: LabelledSubset) -> SpeechSubset:
    """The frames of a set that keep their labels."""
    counts = [len(alignments.pdfs(name)) for name in alignments.utterance_ids]
    firsts = np.cumsum([0, *counts])
    if subset.draw == "frames":
        frames = subset_of_frames(sum(counts), subset.fraction, seed=subset.seed)
        frames = np.setdiff1d(np.arange(sum(counts)), frames) if subset.rest else frames
        numbers = np.unique(np.searchsorted(firsts, frames, side="right") - 1)
    else:
        numbers = subset_of_utterances(counts, subset.fraction, seed=subset.seed)
        numbers = np.setdiff1d(np.arange(len(counts)), numbers) if subset.rest else numbers
        frames = np.concatenate([np.arange(firsts[number], firsts[number + 1]) for number in numbers])
    return SpeechSubset(torch.from_numpy(frames), [alignments.utterance_ids[number] for number in numbers])


def subset_examples(plain: LabelledSpeech, subset: LabelledSubset, network: Named, *, evaluation: bool) -> Tensor:
    """Numbers, among `examples_of` a set, of the examples that lie in a subset of it.

    Settings refuse single frames for a network that learns from stretches of them.
    """
    seen = view_of(network).examples(plain.store, plain.alignments.utterance_ids, evaluation=evaluation)
    return seen.within(draw_subset(plain.alignments, subset).frames)


@dataclass(frozen=True)
class SpeechData:
    """The speech that a network learns from.

    Attributes:
        augment: Variation of the inputs; the copies among its settings are a separate artifact.
        aligned: Artifact with the labels; its fingerprint decides, not its name. The same holds for the copies.
        copies: Artifact with perturbed copies of the training set to add; empty: none.
        vary_copies: Whether the copies are varied like the training set.
        subset: Subset of the training set that keeps its labels; None: all of it does.
        unlabelled: Artifact with unlabelled audio to add; empty: none.
        unlabelled_fraction: Share of that audio.
        labelled_share: Share of labelled examples in every batch; None: that among all examples.
    """

    augment: AugmentSettings
    aligned: Annotated[str, DecidesNothing()] = "align"
    copies: Annotated[str, DecidesNothing()] = ""
    vary_copies: bool = False
    subset: Annotated[LabelledSubset | None, AbsentMeans(None)] = None
    unlabelled: Annotated[str, DecidesNothing()] = ""
    unlabelled_fraction: Annotated[float, AbsentMeans(1.0)] = 1.0
    labelled_share: Annotated[float | None, AbsentMeans(None)] = None

    def artifacts(self) -> Sequence[str]:
        """Names of the input artifacts."""
        added = [self.unlabelled, "posteriors"] if self.unlabelled else []  # posteriors say which parts are speech
        return ("features", self.aligned, *([self.copies] if self.copies else []), *added)

    def count(self, run_dir: Path) -> int:
        """Number of frames in the training set."""
        return len(labels(AlignmentStore.open(run_dir / self.aligned / "train")))

    def open(self, run_dir: Path, job: Job) -> Material:
        """Training and evaluation data of the job."""
        network = job.network
        train = LabelledSpeech.of_set(run_dir, "train", augment=self.augment, aligned=self.aligned)
        speech: list[Speech] = [train]
        if self.copies:
            artifact = load_artifact(run_dir, self.copies)
            copies = LabelledSpeech.of_copies(artifact, augment=self.augment if self.vary_copies else None)
            speech += [copies] if copies.alignments.utterance_ids else []
        if self.unlabelled:
            added = UnlabelledSpeech.of_run(run_dir, fraction=self.unlabelled_fraction, augment=self.augment)
            speech += [added] if added.utterance_ids else []

        def teach(utterance_ids: Sequence[str]) -> Teacher | None:
            expect = {name: load_artifact(run_dir, name).fingerprint for name in ("features", self.aligned)}
            return job.open_teacher(
                run_dir,
                utterance_ids=utterance_ids,
                frames=[one.store.num_frames(name) for one in speech for name in one.utterance_ids],
                num_classes=num_classes,
                labelled=sum(len(one.utterance_ids) for one in speech if isinstance(one, LabelledSpeech)),
                expect=expect,
                header=train.store.features,
            )

        num_classes = Topology.load(run_dir / self.aligned / "topology.json").num_pdfs
        examples, followed = examples_of(speech, network, teach=teach, labelled_share=self.labelled_share), None
        if self.subset is not None:
            examples = self.subset.of(examples, self._numbers(train, job, evaluation=False))
            followed = evenly_spaced(self.plain_subset(run_dir, job), _FOLLOWED)
        dev = LabelledSpeech.of_set(run_dir, "dev", aligned=self.aligned)
        return Material(
            examples=examples,
            dev=examples_of([dev], network, evaluation=True),
            num_classes=num_classes,
            input_shape=view_of(network).input_shape(train.store.num_mel_bins),
            header=train.store.features,
            followed=followed,
        )

    def plain_subset(self, run_dir: Path, job: Job) -> Examples:
        """The labelled subset without augmentation, for evaluation."""
        plain = LabelledSpeech.of_set(run_dir, "train", aligned=self.aligned)
        everything = examples_of([plain], job.network, evaluation=True)
        return everything.select(self._numbers(plain, job, evaluation=True))

    def _numbers(self, plain: LabelledSpeech, job: Job, *, evaluation: bool) -> Tensor:
        assert self.subset is not None
        return subset_examples(plain, self.subset, job.network, evaluation=evaluation)
