"""Networks that are trained for 8 bits: in each update weights and activations are rounded as in use.

B. Jacob and others, "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
CVPR 2018, section 3; the rounding passes gradients on unchanged, the straight-through estimator of Bengio, Leonard and
Courville (2013). Weights have a scale for each output and seven of the eight bits, activations one for each layer, as
`kd_asr.recognition.onnx_files` writes them: what a trained network does here is what ONNX Runtime does with its file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from kd_asr.features.inputs import Indexable
from kd_asr.networks.around import Around, exchange, exchange_linear_layers
from kd_asr.networks.base import Network
from kd_asr.registry import Named, named, network
from kd_asr.settings.ranges import OfKind

# Weights are -64..64, activations 0..255.
LARGEST_WEIGHT = 64
LARGEST_ACTIVATION = 255
# Share of the latest batch in the running means of smallest and largest activations.
_LATEST = 0.01
_UNTRAINED_RANGE = 8.0


@dataclass(frozen=True)
class QuantisedSettings:
    """A network whose linear layers compute in 8 bits.

    Attributes:
        body: Network that is quantised.
    """

    body: Annotated[Named, OfKind("network")] = field(default_factory=lambda: named("network", "dnn"))


def weight_scales(weight: Tensor) -> Tensor:
    """(outputs, 1) value of one step of the weights of each output, (outputs, inputs)."""
    return (weight.detach().abs().amax(1, keepdim=True) / LARGEST_WEIGHT).clamp_min(torch.finfo(torch.float32).tiny)


def activation_scale(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Value of one step, and the step that means 0, of activations between `low` (at most 0) and `high` (at least
    0)."""
    scale = ((high - low) / LARGEST_ACTIVATION).clamp_min(torch.finfo(torch.float32).tiny)
    return scale, (-low / scale).round().clamp(0, LARGEST_ACTIVATION)


def rounded_weights(weight: Tensor) -> Tensor:
    """Weights of (outputs, inputs) as 8 bits keep them, with the gradient of the weights themselves."""
    scales = weight_scales(weight)
    return weight + ((weight / scales).round() * scales - weight).detach()


def rounded_activations(values: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Activations as 8 bits keep them. The gradient is that of the activations, and 0 beyond the range."""
    inside = torch.minimum(torch.maximum(values, -zero * scale), (LARGEST_ACTIVATION - zero) * scale)
    steps = ((values / scale).round() + zero).clamp(0, LARGEST_ACTIVATION)
    return inside + ((steps - zero) * scale - inside).detach()


class RoundingLinear(nn.Linear):
    """A linear layer that rounds its weights and inputs, and learns the range of the inputs from training batches.

    Attributes:
        low, high: Running means of the smallest and largest input of a batch, with 0 between them.
        batches: Number of batches they are of.
    """

    low: Tensor
    high: Tensor
    batches: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """As `nn.Linear`, in 8 bits."""
        inputs = inputs.float()
        if self.training:
            with torch.no_grad():
                latest = (1 / (self.batches + 1)).clamp_min(_LATEST)
                self.low.lerp_(inputs.amin().clamp_max(0.0), latest)
                self.high.lerp_(inputs.amax().clamp_min(0.0), latest)
                self.batches.add_(1.0)
        seen = rounded_activations(inputs, *activation_scale(self.low, self.high))
        return nn.functional.linear(seen, rounded_weights(self.weight), self.bias)


def _rounding(layer: nn.Linear) -> RoundingLinear:
    """A layer itself, which rounds from now on."""
    device = layer.weight.device
    layer.register_buffer("low", torch.tensor(-_UNTRAINED_RANGE, device=device))
    layer.register_buffer("high", torch.tensor(_UNTRAINED_RANGE, device=device))
    layer.register_buffer("batches", torch.tensor(0.0, device=device))
    layer.__class__ = RoundingLinear
    assert isinstance(layer, RoundingLinear)
    return layer


class EightBitLinear(nn.Module):
    """A linear layer as it is kept: weights in 8 bits.

    Attributes:
        weight: (outputs, inputs) int8, -64..64.
        scales: (outputs, 1) value of one step of each output's weights.
        input_scale, input_zero: Value of one step of the inputs, and the step that means 0.
        bias: (outputs,) float32, or None.
    """

    weight: Tensor
    scales: Tensor
    input_scale: Tensor
    input_zero: Tensor

    def __init__(self, layer: nn.Linear, low: Tensor, high: Tensor) -> None:
        """Round `layer`, whose inputs are between `low` and `high`."""
        super().__init__()
        scales, (scale, zero) = weight_scales(layer.weight), activation_scale(low, high)
        self.register_buffer("weight", (layer.weight.detach() / scales).round().to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("input_scale", scale.clone())
        self.register_buffer("input_zero", zero.clone())
        self.bias = nn.Parameter(layer.bias.detach().clone()) if layer.bias is not None else None

    @property
    def float_weight(self) -> Tensor:
        """(outputs, inputs) float32."""
        return self.weight * self.scales

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., outputs), what the rounded weights make of the rounded inputs."""
        seen = rounded_activations(inputs.float(), self.input_scale, self.input_zero)
        return nn.functional.linear(seen, self.float_weight, self.bias)


@network("quantised")
class Quantised(Around):
    """The body with `EightBitLinear` in the place of its linear layers; all else, such as normalisation, is exact."""

    Settings = QuantisedSettings

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: QuantisedSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        exchange_linear_layers(self.body, _untrained)

    @classmethod
    def for_training(
        cls, inputs: Indexable, input_shape: tuple[int, ...], num_classes: int, settings: QuantisedSettings
    ) -> Network:
        """The network with weights that can be trained, and are rounded in each pass."""
        return InTraining(input_shape, num_classes, settings)

    @property
    def layers(self) -> dict[str, EightBitLinear]:
        """The layers in 8 bits by their names in the body, in the order in which they were made."""
        return {name: module for name, module in self.body.named_modules() if isinstance(module, EightBitLinear)}

    @torch.no_grad()
    def plain(self) -> Network:
        """The body with the rounded weights, which does not round activations."""
        plain, state = self.plain_body(), self.body.state_dict()
        state.update({f"{name}.weight": layer.float_weight for name, layer in self.layers.items()})
        plain.load_state_dict({name: state[name] for name in plain.state_dict()})
        return plain


def _untrained(layer: nn.Linear) -> EightBitLinear:
    low = torch.tensor(-_UNTRAINED_RANGE, device=layer.weight.device)
    return EightBitLinear(layer, low, -low)


class InTraining(Around):
    """A `Quantised` network while it is trained."""

    Settings = QuantisedSettings

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: QuantisedSettings) -> None:
        super().__init__(input_shape, num_classes, settings)
        exchange_linear_layers(self.body, _rounding)

    @torch.no_grad()
    def as_saved(self) -> Quantised:
        """The same function with weights in 8 bits."""
        kept = Quantised(self.input_shape, self.num_classes, self.settings)
        layers = {name: module for name, module in self.body.named_modules() if isinstance(module, RoundingLinear)}
        for name, layer in layers.items():
            exchange(kept.body, name, EightBitLinear(layer, layer.low, layer.high))
        others = {
            name: value for name, value in self.body.state_dict().items() if name.rpartition(".")[0] not in layers
        }
        kept.body.load_state_dict(others, strict=False)
        return kept.train(self.training)

    def start_from(self, saved: Network) -> None:
        """Take the weights of a body, or of one that has been quantised before."""
        plain = saved.plain() if isinstance(saved, Quantised) else saved
        self.body.load_state_dict({**self.body.state_dict(), **plain.state_dict()})
