"""Losses: pure functions of logits and targets that give one value, in nats, per example; the caller takes the mean."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kd_asr.distillation.targets import SoftTargets

# The hard label of an example that has none: its hard loss is 0, so that soft targets alone teach it.
UNLABELLED = -100


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
    check_shapes(logits, targets)
    probs, scale, shape = targets.at_temperature(temperature)
    log_q = F.log_softmax(logits / temperature, dim=1)
    # The tail's part is scale * sum of shape * log q over the classes that are not kept: all less the kept ones.
    on_kept = scale[:, None] * shape[targets.classes] - probs
    cross_entropy = (on_kept * log_q.gather(1, targets.classes)).sum(dim=1) - scale * (log_q @ shape)
    return temperature**2 * cross_entropy


def kl_teacher_to_student(logits: Tensor, targets: SoftTargets, *, temperature: float) -> Tensor:
    """T^2 KL(p || q): p is the teacher's distribution at temperature T, q = softmax(logits / T).

    `soft_cross_entropy` less T^2 times the teacher's entropy: the same gradient, and 0 where the student agrees.
    Arguments, result and errors are those of `soft_cross_entropy`; the factor T^2 is supplied here.
    """
    check_shapes(logits, targets)
    log_p = targets.dense_log_probs(temperature)
    log_q = F.log_softmax(logits / temperature, dim=1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1)


def kl_student_to_teacher(logits: Tensor, targets: SoftTargets, *, temperature: float) -> Tensor:
    """T^2 KL(q || p), the reverse of `kl_teacher_to_student`: it punishes what the teacher thinks impossible.

    Its gradient is T q_i (log(q_i / p_i) - KL(q || p)). For large T it tends to (z - v) / N as well: near equality the
    two divergences are the same to second order. Arguments, result and errors are those of `soft_cross_entropy`.
    """
    check_shapes(logits, targets)
    log_p = targets.dense_log_probs(temperature)
    log_q = F.log_softmax(logits / temperature, dim=1)
    return temperature**2 * (log_q.exp() * (log_q - log_p)).sum(dim=1)


def squared_logit_difference(logits: Tensor, targets: SoftTargets) -> Tensor:
    """sum over classes of (z - v)^2 / (2 N), of centred logits z and centred log-probabilities v of the teacher.

    Its gradient is (z - v) / N: what that of `soft_cross_entropy` tends to for large T (Hinton, Vinyals, Dean 2015,
    equation 4, after Bucila, Caruana, Niculescu-Mizil 2006). Centring takes away what a softmax cannot see.

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


def check_shapes(logits: Tensor, targets: SoftTargets) -> None:
    """A `ValueError` if logits and targets are not of the same examples and classes."""
    expected = (targets.classes.shape[0], targets.num_classes)
    if tuple(logits.shape) != expected:
        raise ValueError(f"logits of shape {tuple(logits.shape)} for soft targets of shape {expected}")
