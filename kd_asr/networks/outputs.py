"""Outputs of a network for a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Outputs:
    """Logits, those of several heads, and the outputs of the middle layers that were asked for.

    Attributes:
        logits: (labels, classes) float32.
        taps: (labels, width) outputs of middle layers, by name.
        heads: (heads, labels, classes) float32 logits of each head; None: the network has one.
    """

    logits: Tensor
    taps: Mapping[str, Tensor] = field(default_factory=dict)
    heads: Tensor | None = None
