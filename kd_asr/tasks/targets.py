"""What the networks of a run learn: the label of each frame by itself, or whole stretches of phones.

Either says which artifact has the labels, how a training's data is described, and how outputs are searched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd_asr.alignment.store import Alignment, AlignmentStore, PhoneSegment
from kd_asr.alignment.topology import SILENCE, Topology
from kd_asr.artifacts import read_json
from kd_asr.distillation.objectives import needs_of
from kd_asr.features.settings import AugmentSettings
from kd_asr.jobs.job import Data
from kd_asr.registry import Weighted
from kd_asr.sequence.denominator import Denominator
from kd_asr.sequence.forward_backward import DenominatorSums
from kd_asr.sequence.topology import FRAME_STRIDE, OneStateTopology
from kd_asr.tasks.sequences import DENOMINATOR, TOPOLOGY, SequenceData
from kd_asr.tasks.speech import SpeechData

# From the id of a copy, the store and the id of its original, and the frames that it is made of, to its alignment.
Copying = Callable[[str, AlignmentStore, str, NDArray[np.int64]], Alignment]


def log_prior(alignments: AlignmentStore, num_pdfs: int) -> Tensor:
    """(pdfs,) log share of the training frames of each pdf; a pdf without frames counts as having one."""
    counts = np.zeros(num_pdfs)
    for name in alignments.utterance_ids:
        counts += np.bincount(alignments.pdfs(name), minlength=num_pdfs)
    counts = np.maximum(counts, 1.0)
    return torch.from_numpy(np.log(counts / counts.sum()).astype(np.float32))


def copied_phones(phones: Sequence[PhoneSegment], nearest: NDArray[np.int64]) -> tuple[PhoneSegment, ...]:
    """Phones of a copy at another rate of speech; one that is skipped is left out.

    Args:
        phones: of the original, without gaps.
        nearest: (frames of the copy,) frame of the original that each is made of, ascending.
    """
    ends = np.cumsum([item.num_frames for item in phones])
    places, counts = np.unique(np.searchsorted(ends, nearest, side="right"), return_counts=True)
    starts = np.cumsum(counts) - counts
    timed = zip(places.tolist(), starts.tolist(), counts.tolist(), strict=True)
    return tuple(PhoneSegment(phones[place].phone, start, count) for place, start, count in timed)


@dataclass(frozen=True)
class FrameTargets:
    """HMM states, one for each frame of the features."""

    artifact: ClassVar[str] = "align"
    stride: ClassVar[int] = 1
    keep: ClassVar[Literal["best", "last"]] = "best"
    gives: ClassVar[frozenset[str]] = frozenset()

    def data(self, augment: AugmentSettings, *, copies: str = "", vary_copies: bool = False) -> Data:
        """Data of a training; `copies` is an artifact with copies of the training set."""
        return SpeechData(augment, copies=copies, vary_copies=vary_copies)

    def copying(self, run_dir: Path) -> Copying:
        """Labels of the nearest frames; phones of copies are not asked for."""

        def copied(name: str, store: AlignmentStore, original: str, nearest: NDArray[np.int64]) -> Alignment:
            return Alignment(name, np.asarray(store.pdfs(original))[nearest], ())

        return copied

    def topology(self, run_dir: Path) -> Topology:
        """The HMMs of a run."""
        return Topology.load(run_dir / self.artifact / TOPOLOGY)

    def silent_pdfs(self, run_dir: Path) -> list[int]:
        """Pdfs of silence."""
        return list(self.topology(run_dir).pdfs(SILENCE))

    def log_prior(self, run_dir: Path) -> Tensor:
        """(pdfs,) float32, what a search subtracts from log-posteriors."""
        alignments = AlignmentStore.open(run_dir / self.artifact / "train")
        return log_prior(alignments, self.topology(run_dir).num_pdfs)


@dataclass(frozen=True)
class SequenceTargets:
    """Pdfs of the one-state topology, one for every third frame, and graphs of what could have been said.

    Outputs are searched as they are: the criterion has taught the network what the prior would correct.

    Attributes:
        leaky: Coefficient of the leaky HMM, see `SequenceData`.
    """

    leaky: float
    artifact: ClassVar[str] = "sequence_targets"
    stride: ClassVar[int] = FRAME_STRIDE
    # The best frame accuracy on dev is not that of the best objective.
    keep: ClassVar[Literal["best", "last"]] = "last"
    gives: ClassVar[frozenset[str]] = SequenceData.gives

    def data(self, augment: AugmentSettings, *, copies: str = "", vary_copies: bool = False) -> Data:
        """Data of a training; as that of `FrameTargets`."""
        return SequenceData(augment, leaky=self.leaky, copies=copies, vary_copies=vary_copies)

    def topology(self, run_dir: Path) -> OneStateTopology:
        """The HMMs of a run."""
        return OneStateTopology.load(run_dir / self.artifact / TOPOLOGY)

    def silent_pdfs(self, run_dir: Path) -> list[int]:
        """Pdfs of silence, which no context changes."""
        return list(self.topology(run_dir).pdfs(SILENCE, SILENCE))

    def copying(self, run_dir: Path) -> Copying:
        """Phones in their new times, and their labels."""
        topology = self.topology(run_dir)

        def copied(name: str, store: AlignmentStore, original: str, nearest: NDArray[np.int64]) -> Alignment:
            phones = copied_phones(store.phones(original), nearest)
            return Alignment(name, topology.labels(phones), phones)

        return copied

    def denominator(self, run_dir: Path) -> DenominatorSums:
        """Sums over the denominator of a run."""
        return DenominatorSums(Denominator.load(run_dir / self.artifact / DENOMINATOR), leaky=self.leaky)

    def log_prior(self, run_dir: Path) -> Tensor:
        """(pdfs,) float32 zeros."""
        return torch.zeros(self.topology(run_dir).num_pdfs)


def load_topology(path: Path) -> Topology | OneStateTopology:
    """HMMs of either kind.

    Raises:
        UserError: the file is damaged.
    """
    fields = read_json(path)
    one_state = isinstance(fields, dict) and "self_loop" not in fields
    return OneStateTopology.load(path) if one_state else Topology.load(path)


Targets = FrameTargets | SequenceTargets


def targets_of(losses: Sequence[Weighted], *, leaky: float) -> Targets:
    """What networks learn that have no teacher; `losses` are theirs."""
    return SequenceTargets(leaky) if "graphs" in needs_of(losses) else FrameTargets()
