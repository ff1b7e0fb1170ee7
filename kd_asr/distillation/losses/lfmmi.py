"""Maximum mutual information of a whole sequence, without lattices (Povey and others, Interspeech 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss
from kd_asr.sequence.forward_backward import SequenceGraphs, SequenceObjective
from kd_asr.settings.ranges import AtLeast


@dataclass(frozen=True)
class LfmmiSettings:
    """Maximum mutual information of the phones of a chunk, among all phone sequences.

    Attributes:
        cross_entropy: Weight of the cross-entropy of the network's branch, if it has one, with the numerator's
            occupations (Povey and others 2016: 0.1).
        output_decay: Factor of half the squared norm of a frame's outputs (Kaldi's mini LibriSpeech recipes: 0.00005).
    """

    cross_entropy: Annotated[float, AtLeast(0)] = 0.1
    output_decay: Annotated[float, AtLeast(0)] = 5e-5


@loss("lfmmi")
class LfmmiLoss:
    """Negative objective of a chunk, shared evenly among its frames, with cross-entropy and decay of each frame.

    The network's outputs are those of the objective, or these and, after them, as many of a branch for the
    cross-entropy. Broken chunks have neither objective nor cross-entropy.
    """

    Settings = LfmmiSettings
    needs = frozenset({"graphs"})

    def __init__(self, settings: LfmmiSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        logits, branch, found = self.objective(outputs, signal, batch)
        values = -found.log_probs[:, None] / logits.shape[1]
        values = values + 0.5 * self.settings.output_decay * logits.square().sum(dim=2)
        if branch is not None:
            entropy = -(found.occupation * branch.log_softmax(dim=2)).sum(dim=2)
            values = values + self.settings.cross_entropy * entropy
        return values.flatten()

    def objective(
        self, outputs: Outputs, signal: Signal, batch: Batch
    ) -> tuple[Tensor, Tensor | None, SequenceObjective]:
        """(chunks, frames, pdfs) logits, those of the branch, and the objective, which tells what chunks are broken.

        Raises:
            ValueError: the signal has no graphs, or the outputs are not as many as the graphs' pdfs, once or twice.
        """
        graphs, chunks = graphs_of(signal), len(batch.examples)
        main = outputs_of_search(outputs.logits, signal).view(chunks, -1, graphs.denominator.num_pdfs)
        logits = outputs.logits.view(chunks, -1, outputs.logits.shape[1])
        branch = logits[..., main.shape[2] :] if logits.shape[2] > main.shape[2] else None
        assert signal.frames is not None
        found = graphs.objective(main, signal.frames.view(chunks, -1))
        return main, branch, found


def graphs_of(signal: Signal) -> SequenceGraphs:
    """The graphs of a signal.

    Raises:
        ValueError: there are none.
    """
    if signal.graphs is None or signal.frames is None:
        raise ValueError("a batch without graphs: give the examples a SequenceTeacher")
    return signal.graphs


def outputs_of_search(logits: Tensor, signal: Signal) -> Tensor:
    """(labels, pdfs) outputs that are searched, without those of the branch, of (labels, pdfs) or (labels, 2 * pdfs).

    Raises:
        ValueError: the signal has no graphs, or the outputs are not as many as the graphs' pdfs, once or twice.
    """
    pdfs = graphs_of(signal).denominator.num_pdfs
    if logits.shape[1] not in (pdfs, 2 * pdfs):
        raise ValueError(f"{logits.shape[1]} outputs for graphs of {pdfs} pdfs: neither as many nor twice as many")
    return logits[:, :pdfs]
