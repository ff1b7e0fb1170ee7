"""Cross-entropy with the teacher's softened posteriors (Hinton, Vinyals, Dean 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import check_shapes, posteriors_of
from kd_asr.distillation.signal import Signal, SoftTargets
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss
from kd_asr.settings.ranges import AtLeast, AtMost


def soft_cross_entropy(logits: Tensor, targets: SoftTargets, *, temperature: float) -> Tensor:
    """T^2 times the cross-entropy of softmax(logits / T) with the teacher's distribution at temperature T.

    Its gradient is T (q - p), which for large T tends to (z - v) / N of centred logits (Hinton, Vinyals, Dean 2015,
    equations 2 to 4). The factor T^2 is included, so that a change of T does not change the balance with the hard
    loss (their section 2).

    Args:
        logits: (batch, classes) float32, of the student.
        targets: of the same batch and number of classes; the treatment of the mass outside its top k is that of
            `SoftTargets`.
        temperature: T > 0.

    Returns:
        (batch,) float32.

    Raises:
        ValueError: the numbers of examples or classes differ.
    """
    check_shapes(logits, targets)
    probs, tail_scale, tail_weights = targets.at_temperature(temperature)
    log_q = F.log_softmax(logits / temperature, dim=1)
    # The tail contributes tail_scale * sum of tail_weights * log q over the classes not kept: all, less the kept ones.
    on_kept = tail_scale[:, None] * tail_weights[targets.classes] - probs
    cross_entropy = (on_kept * log_q.gather(1, targets.classes)).sum(dim=1) - tail_scale * (log_q @ tail_weights)
    return temperature**2 * cross_entropy


@dataclass(frozen=True)
class SoftSettings:
    """Cross-entropy with the teacher's distribution at a temperature.

    Attributes:
        temperature: Temperature T of both softmaxes; the loss carries its factor T squared.
    """

    temperature: Annotated[float, AtLeast(0.01), AtMost(10_000)] = 2.0


@loss("soft")
class SoftLoss:
    """`soft_cross_entropy` of a batch."""

    Settings = SoftSettings
    needs = frozenset({"posteriors"})

    def __init__(self, settings: SoftSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        return soft_cross_entropy(outputs.logits, posteriors_of(signal), temperature=self.settings.temperature)
