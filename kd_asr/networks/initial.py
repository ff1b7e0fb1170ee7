"""Initial weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def draw_hidden_weights(layer: nn.Linear | nn.Conv2d, scale: float) -> None:
    """Draw the weights of a layer of rectified linear units: those of He and others (2015), times `scale`; biases are
    0.

    With small weights a network learns features before it fits (Chizat, Oyallon, Bach 2019); with large ones its hidden
    units stay nearly as they were drawn.
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    layer.weight.mul_(scale)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
