"""Cross-entropy of a sequence network's outputs with the teacher's posteriors, frame by frame at 30 ms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import posteriors_of
from kd_asr.distillation.losses.lfmmi import outputs_of_search
from kd_asr.distillation.losses.soft import soft_cross_entropy
from kd_asr.distillation.signal import Signal
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss
from kd_asr.settings.ranges import AtLeast, AtMost


@dataclass(frozen=True)
class SequenceSoftSettings:
    """Cross-entropy with the softmax of the teacher's outputs, for networks that learn by `lfmmi`.

    The objective of a sequence does not change with a constant that is added to all outputs of a frame, so the softmax
    of the outputs has all that they say.

    Attributes:
        temperature: Temperature T of both softmaxes; the loss carries its factor T squared.
    """

    temperature: Annotated[float, AtLeast(0.01), AtMost(10_000)] = 1.0


@loss("sequence_soft")
class SequenceSoftLoss:
    """`soft_cross_entropy` of the outputs that are searched, without those of the branch."""

    Settings = SequenceSoftSettings
    needs = frozenset({"posteriors", "graphs"})

    def __init__(self, settings: SequenceSoftSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        logits = outputs_of_search(outputs.logits, signal)
        return soft_cross_entropy(logits, posteriors_of(signal), temperature=self.settings.temperature)
