"""Hydra: a student with a head for each member of an ensemble (Tran and others 2020, arXiv 2001.04694)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import members_of_signal
from kd_asr.distillation.signal import Signal, floored
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss
from kd_asr.settings.ranges import AtLeast, AtMost


def mean_divergence_of_heads(heads: Tensor, members: Sequence[Tensor], *, temperature: float) -> Tensor:
    """T^2 / M sum_m KL(p_m || q_m): p_m is a member's posterior and q_m that of its head, both at temperature T
    (equation 2).

    Args:
        heads: (members, labels, classes) float logits of the heads.
        members: (labels, classes) log-posteriors of each member, at temperature 1, in the order of the heads.
        temperature: T > 0.

    Returns:
        (labels,) nats.

    Raises:
        ValueError: there are not as many heads as members.
    """
    if len(heads) != len(members):
        raise ValueError(f"a student with {len(heads)} heads for an ensemble of {len(members)} members")
    total = heads.new_zeros(heads.shape[1])
    for logits, member in zip(heads, members, strict=True):
        log_p, log_q = floored(F.log_softmax(member / temperature, dim=1)), F.log_softmax(logits / temperature, dim=1)
        total = total + (log_p.exp() * (log_p - log_q)).sum(dim=1)
    return temperature**2 * total / len(members)


@dataclass(frozen=True)
class HeadsLossSettings:
    """Mean divergence of each head of the student from its member of the ensemble.

    Attributes:
        temperature: Temperature T of all softmaxes; the loss carries its factor T squared.
    """

    temperature: Annotated[float, AtLeast(0.01), AtMost(10_000)] = 1.0


@loss("heads")
class HeadsLoss:
    """`mean_divergence_of_heads` of a batch."""

    Settings = HeadsLossSettings
    needs = frozenset({"members", "heads"})

    def __init__(self, settings: HeadsLossSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats.

        Raises:
            ValueError: the network has no heads, or not as many as there are members.
        """
        if outputs.heads is None:
            raise ValueError("the loss heads needs a network with several heads: choose the network `heads`")
        members = members_of_signal(signal, outputs.logits)
        return mean_divergence_of_heads(outputs.heads, members, temperature=self.settings.temperature)
