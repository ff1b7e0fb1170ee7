"""The acoustic model: a multilayer perceptron on a window of frames (Hinton, Vinyals, Dean 2015, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_asr.networks.dropout import ByteDropout
from kd_asr.networks.settings import NetworkSettings


class SplicedDNN(nn.Module):
    """`hidden_layers` fully connected layers of rectified linear units and a linear output layer.

    Input (batch, input_dimension) float; output (batch, num_classes) logits.
    """

    def __init__(self, input_dimension: int, num_classes: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        layers: list[nn.Module] = []
        self.input_dropout = ByteDropout(settings.input_dropout)
        dimension = input_dimension
        for _ in range(settings.hidden_layers):
            # Batch normalisation has a shift of its own: a bias before it would do nothing.
            layers.append(nn.Linear(dimension, settings.hidden_units, bias=not settings.batch_normalisation))
            if settings.batch_normalisation:
                layers.append(nn.BatchNorm1d(settings.hidden_units))
            layers.append(nn.ReLU(inplace=True))
            if settings.dropout > 0:
                layers.append(ByteDropout(settings.dropout))
            dimension = settings.hidden_units
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(dimension, num_classes)
        self.reset_parameters()

    @property
    def input_dimension(self) -> int:
        """Numbers of an input."""
        return self.first_layer.in_features

    @property
    def first_layer(self) -> nn.Linear:
        """The one that sees the inputs."""
        first = self.hidden[0] if len(self.hidden) else self.output
        assert isinstance(first, nn.Linear)
        return first

    @property
    def first_layer_name(self) -> str:
        """In the state dictionary."""
        return "hidden.0" if len(self.hidden) else "output"

    def reset_parameters(self) -> None:
        """Draw initial weights from torch's global generator: `draw_hidden_weights`, small ones for the output."""
        for module in self.hidden:
            if isinstance(module, nn.Linear):
                draw_hidden_weights(module.weight, self.settings)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_normal_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (batch, num_classes)."""
        logits: Tensor = self.output(self.hidden(self.input_dropout(inputs)))
        return logits


@torch.no_grad()
def draw_hidden_weights(weight: Tensor, settings: NetworkSettings) -> None:
    """Fill in the weights of rectified linear units, (units, inputs): He and others (2015), times `initial_scale`.

    Small ones let a network change what its hidden units see before it fits (Chizat, Oyallon, Bach 2019); large ones
    leave them nearly as they were drawn.
    """
    nn.init.kaiming_normal_(weight, nonlinearity="relu")
    weight.mul_(settings.initial_scale)


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers in a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def seeded_dnn(input_dimension: int, num_classes: int, settings: NetworkSettings, seed: int) -> SplicedDNN:
    """A network whose initial weights depend on `seed` alone; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SplicedDNN(input_dimension, num_classes, settings)
