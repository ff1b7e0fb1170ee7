"""Training in the inputs' principal components: neighbouring frames and bins are much alike, and gradient descent is
slow where inputs are correlated.

The components replace the inputs only while a network is trained. The map to them is linear, so the trained network is
saved as one on the inputs themselves, and nothing that uses it knows of them. Gains and costs are in
`docs/experiments/quick.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kd_asr.errors import UserError
from kd_asr.features.inputs import Indexable

# Inputs from which the covariance is estimated, evenly spaced; 60 for each entry of a window of 21 frames of 40 bins.
_SAMPLE = 50_000
_PIECE = 4096


@dataclass(frozen=True)
class Components:
    """Principal components of inputs x: (x - mean) @ matrix.

    Attributes:
        mean: (inputs,) float32.
        matrix: (inputs, components) float32, the largest variance first.
    """

    mean: Tensor
    matrix: Tensor


def principal_components(inputs: Indexable, components: int, whitening: float) -> Components:
    """The directions of the largest variance, each with the sign that makes its largest entry positive.

    Args:
        inputs: (dimension,) vectors by example number; 50,000 of them, evenly spaced, are used.
        components: number of components to keep.
        whitening: a component of variance v is divided by v^(whitening / 2), so that v^(1 - whitening) is left:
            0 is a rotation, 1 makes all variances equal. All are then scaled alike, to a mean variance of 1.

    Raises:
        UserError: there are more components than inputs.
    """
    sampled = torch.linspace(0, len(inputs) - 1, min(len(inputs), _SAMPLE)).long()
    # Shuffled, since `WarpedWindows` gives each part of a batch another warp.
    sampled = sampled[torch.randperm(len(sampled), generator=torch.Generator().manual_seed(0))]
    dimension = inputs[sampled[:1]].shape[1]
    if components > dimension:
        raise UserError(f"principal_components: {components} are more than the {dimension} inputs")
    total, products = torch.zeros(dimension).double(), torch.zeros(dimension, dimension).double()
    for numbers in torch.split(sampled, _PIECE):
        batch = inputs[numbers]
        total += batch.sum(dim=0)
        products += batch.T @ batch
    mean = total / len(sampled)
    variances, directions = torch.linalg.eigh(products / len(sampled) - torch.outer(mean, mean))
    variances, directions = variances.flip(0)[:components], directions.flip(1)[:, :components]
    # Inputs that are sums of others leave a variance of 0, which rounding can make negative.
    variances = variances.clamp_min(1e-6 * float(variances[0]))
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    scale = variances ** (-whitening / 2) / (variances ** (1 - whitening)).mean().sqrt()
    return Components(mean.float(), (directions * largest.sign() * scale).float())
