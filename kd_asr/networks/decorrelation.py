"""Training in the inputs' principal components: neighbouring frames and bins say much the same, and gradient descent is
slow where inputs are correlated.

The components stand in for the inputs only while a network is trained. They are a linear map, so that the trained
network is then written as one on the inputs themselves, and nothing that uses it knows of them. What that brings and
costs: `docs/experiments/quick.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_asr.errors import UserError
from kd_asr.networks.dnn import SplicedDNN
from kd_asr.networks.inference import Indexable
from kd_asr.networks.tdnn import TDNN

# Inputs whose covariance is taken, evenly spread over all; 60 for each entry of a window of 21 frames of 40 bins.
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
    """The directions of the largest variance, the signs such that each one's largest entry is positive.

    Args:
        inputs: (dimension,) vectors by example number; 50,000 of them, evenly spread, are looked at.
        components: how many to keep.
        whitening: a component of variance v is divided by v^(whitening / 2), so that v^(1 - whitening) is left:
            0 is a rotation, 1 makes all variances equal. All are then scaled alike, to a mean variance of 1.

    Raises:
        UserError: there are more components than inputs.
    """
    wanted = torch.linspace(0, len(inputs) - 1, min(len(inputs), _SAMPLE)).long()
    # Shuffled, since `WarpedWindows` gives each part of a batch another warp.
    wanted = wanted[torch.randperm(len(wanted), generator=torch.Generator().manual_seed(0))]
    dimension = inputs[wanted[:1]].shape[1]
    if components > dimension:
        raise UserError(f"network.principal_components: {components} are more than the {dimension} inputs")
    total, products = torch.zeros(dimension).double(), torch.zeros(dimension, dimension).double()
    for part in torch.split(wanted, _PIECE):
        batch = inputs[part]
        total += batch.sum(dim=0)
        products += batch.T @ batch
    mean = total / len(wanted)
    variances, directions = torch.linalg.eigh(products / len(wanted) - torch.outer(mean, mean))
    variances, directions = variances.flip(0)[:components], directions.flip(1)[:, :components]
    # Inputs that are sums of others leave a variance of 0, which rounding can make negative.
    variances = variances.clamp_min(1e-6 * float(variances[0]))
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    scale = variances ** (-whitening / 2) / (variances ** (1 - whitening)).mean().sqrt()
    return Components(mean.float(), (directions * largest.sign() * scale).float())


class DecorrelatedDNN(nn.Module):
    """A network that sees components of its inputs; the map to them is not trained."""

    matrix: Tensor
    shift: Tensor

    def __init__(self, network: SplicedDNN, components: Components) -> None:
        """Let `network`, whose inputs are components, stand behind the map to them."""
        super().__init__()
        self.network = network
        self.register_buffer("matrix", components.matrix)
        self.register_buffer("shift", -(components.mean @ components.matrix))

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, classes) logits of (batch, inputs)."""
        logits: Tensor = self.network(torch.addmm(self.shift, inputs, self.matrix))
        return logits


@torch.no_grad()
def on_inputs(model: SplicedDNN | TDNN | DecorrelatedDNN) -> SplicedDNN | TDNN:
    """The same function as a network on the inputs themselves: the map becomes part of its first layer.

    Batch normalisation takes the place of a first layer's bias, so the shift is moved into its running mean. The
    network that is given is not changed.
    """
    if not isinstance(model, DecorrelatedDNN):
        return model
    network, matrix, shift = model.network, model.matrix, model.shift
    plain = SplicedDNN(matrix.shape[0], network.output.out_features, network.settings)
    first = network.first_layer
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plain.load_state_dict({**state, network.first_layer_name + ".weight": first.weight @ matrix.T})
    moved = first.weight @ shift
    if first.bias is not None:
        assert plain.first_layer.bias is not None
        plain.first_layer.bias.add_(moved)
    else:
        normalisation = plain.hidden[1]
        assert isinstance(normalisation, nn.BatchNorm1d) and normalisation.running_mean is not None
        normalisation.running_mean.sub_(moved)
    plain.train(model.training)
    return plain
