"""What a facilitator learns: which of several teachers leads, and whether they are to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.signal import Signal
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss


def moderated(logits: Tensor, members: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """What a facilitator makes of its teachers.

    Args:
        logits: (labels, M + 1 or more) of the facilitator: who of M teachers leads, and trust. More are not used.
        members: (labels, classes) log-posteriors of each teacher.

    Returns:
        (labels, classes) log-posteriors of the teachers' mixture, and (labels,) logit of the trust in it.

    Raises:
        ValueError: there are too few logits.
    """
    count = len(members)
    if logits.shape[1] < count + 1:
        raise ValueError(f"{logits.shape[1]} outputs of a facilitator of {count} teachers: it needs another one")
    lead = logits[:, :count].log_softmax(dim=1)
    return torch.logsumexp(torch.stack(list(members), dim=1) + lead[:, :, None], dim=1), logits[:, count]


def lead_loss(logits: Tensor, members: Sequence[Tensor], hard_labels: Tensor) -> Tensor:
    """Cross-entropy of the mixture with the label, and of the trust with whether the mixture is right.

    The mixture's weights are those of a mixture of experts (Jacobs, Jordan, Nowlan, Hinton 1991) whose experts are
    frozen. The trust says where a student should rather believe the label, as conditional teacher-student learning
    does where teachers are wrong (Meng and others 2019), but is learnt on data that are new to the teachers.

    Args:
        logits: of the facilitator, see `moderated`.
        members: (labels, classes) log-posteriors of each teacher.
        hard_labels: (labels,) int64; the loss of `UNLABELLED` ones is 0.

    Returns:
        (labels,) nats.
    """
    mixture, trust = moderated(logits, members)
    labelled = hard_labels != UNLABELLED
    labels = hard_labels.clamp_min(0)
    right = (mixture.argmax(dim=1) == labels).to(trust)
    values = F.binary_cross_entropy_with_logits(trust, right, reduction="none")
    return (values - mixture.gather(1, labels[:, None])[:, 0]) * labelled


@dataclass(frozen=True)
class LeadSettings:
    """Which of several teachers leads at each label, and whether they are right."""


@loss("lead")
class LeadLoss:
    """`lead_loss` of a batch."""

    Settings = LeadSettings
    needs = frozenset({"labels", "members"})

    def __init__(self, settings: LeadSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        return lead_loss(outputs.logits, signal.members, batch.hard_labels)
