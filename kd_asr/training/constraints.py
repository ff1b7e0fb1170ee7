"""Constraints on the weights, applied after each update."""

from __future__ import annotations

import torch
from torch import nn

from kd_asr.networks.semi_orthogonal import SemiOrthogonal


@torch.no_grad()
def limit_incoming_norms(model: nn.Module, *, max_norm: float) -> None:
    """Scale the incoming weights of every unit of a linear layer down to the Euclidean norm `max_norm`, if above it.

    In a stack of networks, whose weights have an axis in front, those of every network by itself. The max-norm
    constraint of Hinton and others 2012 (arXiv 1207.0580) and Srivastava and others 2014 (section 5.1).
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            norms = module.weight.norm(dim=-1, keepdim=True)
            module.weight.mul_((max_norm / norms.clamp_min(1e-12)).clamp_max(1.0))


def keep_semi_orthogonal(model: nn.Module) -> None:
    """Keep the `SemiOrthogonal` weights of a model near their constraint; called after each update."""
    for module in model.modules():
        if isinstance(module, SemiOrthogonal):
            module.constrain()
