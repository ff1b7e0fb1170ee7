"""Cross-entropy with the hard labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.signal import Signal
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss


def hard_cross_entropy(logits: Tensor, hard_labels: Tensor) -> Tensor:
    """-log q(label), q = softmax(logits).

    Args:
        logits: (batch, classes) float32.
        hard_labels: (batch,) int64; the loss of `UNLABELLED` examples is 0.

    Returns:
        (batch,) float32.

    Example:
        >>> import torch
        >>> hard_cross_entropy(torch.zeros(1, 4), torch.tensor([2]))
        tensor([1.3863])
    """
    return F.cross_entropy(logits, hard_labels, reduction="none", ignore_index=UNLABELLED)


@dataclass(frozen=True)
class HardSettings:
    """Cross-entropy with the hard labels."""


@loss("hard")
class HardLoss:
    """`hard_cross_entropy` of a batch."""

    Settings = HardSettings
    needs = frozenset({"labels"})

    def __init__(self, settings: HardSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        return hard_cross_entropy(outputs.logits, batch.hard_labels)
