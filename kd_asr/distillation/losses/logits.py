"""Squared difference of logits (Ba, Caruana 2014)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import check_shapes, posteriors_of
from kd_asr.distillation.signal import Signal, SoftTargets
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss


def squared_logit_difference(logits: Tensor, targets: SoftTargets) -> Tensor:
    """Sum over the N classes of (z - v)^2 / (2 N), for centred logits z and the teacher's centred log-probabilities v.

    Its gradient is (z - v) / N, the limit of the soft cross-entropy's gradient for large T (Hinton, Vinyals, Dean 2015,
    equation 4, after Bucila, Caruana, Niculescu-Mizil 2006). Centring removes the constant that a softmax ignores.

    Args:
        logits: (batch, classes) float32, of the student.
        targets: of the same batch and number of classes.

    Returns:
        (batch,) float32.

    Raises:
        ValueError: the numbers of examples or classes differ.
    """
    check_shapes(logits, targets)
    teacher = targets.dense_log_probs(1.0)
    apart = logits - logits.mean(dim=1, keepdim=True) - (teacher - teacher.mean(dim=1, keepdim=True))
    return 0.5 * apart.square().mean(dim=1)


@dataclass(frozen=True)
class LogitsSettings:
    """Squared difference of centred logits (Ba, Caruana 2014)."""


@loss("logits")
class LogitsLoss:
    """`squared_logit_difference` of a batch."""

    Settings = LogitsSettings
    needs = frozenset({"posteriors"})

    def __init__(self, settings: LogitsSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        return squared_logit_difference(outputs.logits, posteriors_of(signal))
