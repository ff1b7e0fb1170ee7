"""Divergence of the teacher's and the student's paths through the denominator (Wong, Gales, Interspeech 2016)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import posteriors_of
from kd_asr.distillation.losses.lfmmi import graphs_of, outputs_of_search
from kd_asr.distillation.losses.soft import soft_cross_entropy
from kd_asr.distillation.signal import Signal
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss
from kd_asr.sequence.forward_backward import all_paths


@dataclass(frozen=True)
class OccupationsSettings:
    """Divergence of the paths of teacher and student, for teachers whose `targets` are `occupations`."""


@loss("occupations")
class OccupationsLoss:
    """log of the sum over the student's paths, minus the outputs that the teacher's paths would collect.

    With gamma for the probability of a pdf in a frame, given that the path is in the denominator, the gradient is the
    student's gamma minus the teacher's: that of the divergence KL(teacher || student) of distributions over paths,
    which differs from this value by the teacher's entropy. The sum over a chunk is shared evenly among its frames.
    """

    Settings = OccupationsSettings
    needs = frozenset({"posteriors", "graphs"})

    def __init__(self, settings: OccupationsSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        logits = outputs_of_search(outputs.logits, signal)
        chunks = logits.view(len(batch.examples), -1, logits.shape[1])
        total, broken = all_paths(chunks, graphs_of(signal).denominator)
        # What the teacher's paths collect: gamma sums to 1 in each frame, so that the softmax's constant cancels.
        collected = logits.logsumexp(dim=1) - soft_cross_entropy(logits, posteriors_of(signal), temperature=1.0)
        values = total[:, None] / chunks.shape[1] - collected.view(len(chunks), -1)
        return values.masked_fill(broken[:, None], 0.0).flatten()
