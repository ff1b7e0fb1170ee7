"""Speech for sequence training: chunks whose outputs are 30 ms apart, with the graphs that their loss needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import load_artifact
from kd_asr.distillation.objectives import needs_of
from kd_asr.distillation.sequence_teacher import SequenceTeacher
from kd_asr.errors import UserError
from kd_asr.features.settings import AugmentSettings
from kd_asr.jobs.job import Job, Material
from kd_asr.networks.base import view_of
from kd_asr.networks.views import Chunks
from kd_asr.sequence.denominator import Denominator
from kd_asr.sequence.forward_backward import DenominatorSums, SequenceGraphs
from kd_asr.sequence.numerator import NumeratorTable, follow_all
from kd_asr.sequence.topology import FRAME_STRIDE, OneStateTopology
from kd_asr.settings.ranges import AbsentMeans, DecidesNothing
from kd_asr.tasks.speech import LabelledSpeech, examples_of, labels

DENOMINATOR = "denominator.safetensors"
TOPOLOGY = "topology.json"


@dataclass(frozen=True)
class SequenceData:
    """The speech that a network learns from under a sequence criterion, with any losses of frames beside it.

    Its artifact holds the one-state topology, the denominator, and alignment stores of train and dev whose pdfs are
    those of the topology.

    Attributes:
        augment: Variation of the inputs.
        targets: Artifact with topology, denominator and alignments; its fingerprint decides, not its name.
        leaky: Coefficient of the leaky HMM: in each frame, the probability of going on anywhere (Kaldi's mini
            LibriSpeech recipes: 0.1).
        copies: Artifact with perturbed copies of the training set to add, whose alignments have phones; empty: none.
        vary_copies: Whether the copies are varied like the training set.
    """

    augment: AugmentSettings
    targets: Annotated[str, DecidesNothing()] = "sequence_targets"
    leaky: float = 0.1
    copies: Annotated[str, DecidesNothing()] = ""
    vary_copies: Annotated[bool, AbsentMeans(False)] = False
    # What losses may need of the data, beside labels.
    gives: ClassVar[frozenset[str]] = frozenset({"graphs"})

    def artifacts(self) -> Sequence[str]:
        """Names of the input artifacts."""
        return ("features", self.targets, *([self.copies] if self.copies else []))

    def count(self, run_dir: Path) -> int:
        """Number of frames in the training set: an epoch has the output frames from each of three beginnings."""
        return len(labels(AlignmentStore.open(run_dir / self.targets / "train")))

    def open(self, run_dir: Path, job: Job) -> Material:
        """Training and evaluation data of the job.

        Raises:
            UserError: the network sees no chunks of every third frame.
        """
        view = view_of(job.network)
        if not isinstance(view, Chunks) or view.frame_stride != FRAME_STRIDE:
            raise UserError(
                f"{job.name}: for a sequence loss the network {job.network.name} must learn from chunks of every third "
                f"frame: choose tdnnf or tdnn, with frame_stride {FRAME_STRIDE}"
            )
        of_frames = [item.loss.name for item in job.losses if "graphs" not in needs_of([item])]
        if of_frames and getattr(job.network.settings, "cross_entropy_branch", False):
            raise UserError(
                f"{job.name}: the loss {of_frames[0]!r} cannot tell the outputs of a network with cross_entropy_branch "
                "apart: take sequence_soft or occupations beside lfmmi, or a network without the branch"
            )
        topology = OneStateTopology.load(run_dir / self.targets / TOPOLOGY)
        train = LabelledSpeech.of_set(run_dir, "train", augment=self.augment, aligned=self.targets)
        speech = [train]
        if self.copies:
            artifact = load_artifact(run_dir, self.copies)
            copies = LabelledSpeech.of_copies(artifact, augment=self.augment if self.vary_copies else None)
            speech += [copies] if copies.utterance_ids else []
        dev = LabelledSpeech.of_set(run_dir, "dev", aligned=self.targets)
        denominator = Denominator.load(run_dir / self.targets / DENOMINATOR)

        def teach(utterance_ids: Sequence[str]) -> SequenceTeacher:
            expect = {name: load_artifact(run_dir, name).fingerprint for name in ("features", self.targets)}
            inner = job.open_teacher(
                run_dir,
                utterance_ids=utterance_ids,
                frames=[one.store.num_frames(name) for one in speech for name in one.utterance_ids],
                num_classes=topology.num_pdfs,
                labelled=len(utterance_ids),
                expect=expect,
                header=train.store.features,
            )
            return SequenceTeacher(self._graphs(denominator, topology, [one.alignments for one in speech]), inner)

        return Material(
            examples=examples_of(speech, job.network, teach=teach),
            dev=examples_of([dev], job.network, evaluation=True),
            num_classes=topology.num_pdfs,
            input_shape=view.input_shape(train.store.num_mel_bins),
            header=train.store.features,
        )

    def _graphs(
        self, denominator: Denominator, topology: OneStateTopology, sets: Sequence[AlignmentStore]
    ) -> SequenceGraphs:
        """Graphs of all utterances of some sets, whose frames are numbered one after the other."""
        spoken = (one.phones(name) for one in sets for name in one.utterance_ids)
        tracks = follow_all(denominator, topology, spoken, leaky=self.leaky)
        counts = [len(one.pdfs(name)) for one in sets for name in one.utterance_ids]
        return SequenceGraphs(
            NumeratorTable(tracks, counts, denominator), DenominatorSums(denominator, leaky=self.leaky)
        )
