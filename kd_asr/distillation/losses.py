"""Losses: pure functions of logits and targets that give one value, in nats, per example; the caller takes the mean."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kd_asr.distillation.targets import SoftTargets


def hard_cross_entropy(logits: Tensor, hard_labels: Tensor) -> Tensor:
    """-log q(label), q = softmax(logits).

    Args:
        logits: (batch, classes) float32.
        hard_labels: (batch,) int64.

    Returns:
        (batch,) float32.

    Example:
        >>> import torch
        >>> hard_cross_entropy(torch.zeros(1, 4), torch.tensor([2]))
        tensor([1.3863])
    """
    return F.cross_entropy(logits, hard_labels, reduction="none")


def soft_cross_entropy(logits: Tensor, targets: SoftTargets, *, temperature: float) -> Tensor:
    """T^2 times the cross-entropy of softmax(logits / T) with the teacher's distribution at temperature T.

    Its gradient is T (q - p), which for large T tends to (z - v) / N of centred logits (Hinton, Vinyals, Dean 2015,
    equations 2 to 4). The factor T^2 is supplied here, so that a change of T does not change the balance with the
    hard loss (their section 2).

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
    expected = (targets.classes.shape[0], targets.num_classes)
    if tuple(logits.shape) != expected:
        raise ValueError(f"logits of shape {tuple(logits.shape)} for soft targets of shape {expected}")
    probs, scale, shape = targets.at_temperature(temperature)
    log_q = F.log_softmax(logits / temperature, dim=1)
    # The tail's part is scale * sum of shape * log q over the classes that are not kept: all less the kept ones.
    on_kept = scale[:, None] * shape[targets.classes] - probs
    cross_entropy = (on_kept * log_q.gather(1, targets.classes)).sum(dim=1) - scale * (log_q @ shape)
    return temperature**2 * cross_entropy
