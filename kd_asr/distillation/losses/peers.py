"""Deep mutual learning: networks learn from each other in training (Zhang, Xiang, Hospedales, Lu, CVPR 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal, floored
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss
from kd_asr.settings.ranges import AtLeast, AtMost


def mean_divergence_from_peers(logits: Tensor, peers: Sequence[Tensor], *, temperature: float) -> Tensor:
    """T^2 / (K - 1) times the sum of KL(p_l || q) over the other K - 1 networks (equation 6).

    Each peer counts by itself, since their average is a worse teacher (section 3.5). Peers are constants here.

    Args:
        logits: (batch, classes) float32, of one network.
        peers: (batch, classes) log-posteriors of each other network, at temperature 1.
        temperature: T > 0, of all distributions (paper: 1).

    Returns:
        (batch,) float32.

    Raises:
        ValueError: there are no peers, or one has another shape.
    """
    if not peers:
        raise ValueError("no peers to learn from: train two networks or more together")
    log_q = F.log_softmax(logits / temperature, dim=1)
    total = torch.zeros(len(logits), dtype=log_q.dtype, device=log_q.device)
    for peer in peers:
        if peer.shape != logits.shape:
            raise ValueError(f"logits of shape {tuple(logits.shape)} beside a peer of shape {tuple(peer.shape)}")
        log_p = floored(F.log_softmax(peer / temperature, dim=1))
        total = total + (log_p.exp() * (log_p - log_q)).sum(dim=1)
    return temperature**2 * total / len(peers)


@dataclass(frozen=True)
class PeersSettings:
    """Divergence from the networks that are trained together with this one.

    Attributes:
        temperature: Temperature T of all softmaxes (paper: 1); the loss carries its factor T squared.
    """

    temperature: Annotated[float, AtLeast(0.01), AtMost(10_000)] = 1.0


@loss("peers")
class PeersLoss:
    """`mean_divergence_from_peers` of a batch."""

    Settings = PeersSettings
    needs = frozenset({"members"})

    def __init__(self, settings: PeersSettings) -> None:
        self.settings = settings

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) nats."""
        return mean_divergence_from_peers(outputs.logits, signal.members, temperature=self.settings.temperature)
