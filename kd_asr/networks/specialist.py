"""A network for some classes, to which all others are one (Hinton, Vinyals, Dean 2015, section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor

from kd_asr.device import Movable
from kd_asr.features.inputs import Indexable
from kd_asr.networks.base import Network, network_class, problems_of, view_of
from kd_asr.networks.body import WithBody
from kd_asr.networks.views import View
from kd_asr.registry import Named, named, network
from kd_asr.settings.ranges import OfKind

# Takes a class's logit out of a sum, with a gradient of 0 instead of none where no class is left.
_NONE = -1e4


@dataclass(frozen=True)
class SpecialInputs(Movable):
    """Inputs, with what a specialist that learns from them is a specialist for.

    Attributes:
        inputs: The inputs.
        everything: All inputs, in their order, from which what is no weight is computed.
        special: (classes,) bool, its own classes.
        oversampling: How many times more often than in all data its own classes are met, relative to the others.
    """

    inputs: Indexable
    everything: Indexable
    special: Tensor
    oversampling: float

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, examples: Tensor) -> Tensor:
        return self.inputs[examples]


@dataclass(frozen=True)
class SpecialistSettings:
    """A network whose outputs beside its own classes are one, the dustbin.

    Attributes:
        body: Network inside, with an output for every class.
    """

    body: Annotated[Named, OfKind("network")] = field(default_factory=lambda: named("network", "dnn"))


@network("specialist")
class Specialist(WithBody):
    """A body whose classes other than the special ones share their probability evenly.

    With the hard loss this is the cross-entropy of special classes and dustbin, but for a constant. The dustbin begins
    with the probability that the body, a generalist, has given to its classes. In training, where special classes come
    too often, the dustbin's logit is lower by the logarithm of how much too often; so what is learnt are the
    posteriors of all data, and nothing is left to correct (section 5.3 adds the same logarithm afterwards).

    Inputs are those of the body; output (labels, num_classes) logits. Without `SpecialInputs` all classes are special.
    """

    Settings = SpecialistSettings
    special: Tensor
    log_oversampling: Tensor

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, settings: SpecialistSettings, body: Network | None = None
    ) -> None:
        """`body`: its network; None: a new one."""
        super().__init__(input_shape, num_classes, settings)
        inner = network_class(settings.body.name)
        self.body = body or inner(input_shape, num_classes, settings.body.settings)
        self.row_axis = inner.row_axis
        self.register_buffer("special", torch.ones(num_classes, dtype=torch.bool))
        self.register_buffer("log_oversampling", torch.zeros(()))

    @classmethod
    def view(cls, settings: SpecialistSettings) -> View:
        """That of the body."""
        return view_of(settings.body)

    @classmethod
    def problems(cls, settings: SpecialistSettings, input_shape: tuple[int, ...]) -> list[str]:
        """Those of the body."""
        return [f"body: {problem}" for problem in problems_of(settings.body, input_shape)]

    @classmethod
    def for_training(
        cls, inputs: Indexable, input_shape: tuple[int, ...], num_classes: int, settings: SpecialistSettings
    ) -> Network:
        """The network around a body as its own class wants to be trained, for the classes of `SpecialInputs`."""
        inner = network_class(settings.body.name)
        seen = inputs.everything if isinstance(inputs, SpecialInputs) else inputs
        body = inner.for_training(seen, input_shape, num_classes, settings.body.settings)
        made = cls(input_shape, num_classes, settings, body)
        if isinstance(inputs, SpecialInputs):
            made.special.copy_(inputs.special)
            made.log_oversampling.copy_(torch.tensor(inputs.oversampling).log())
        return made

    def as_saved(self) -> Network:
        """The same function around a body of the class that is registered."""
        body = self.body.as_saved()
        if body is self.body:
            return self
        made = Specialist(self.input_shape, self.num_classes, self.settings, body).train(self.training)
        made.special.copy_(self.special)
        made.log_oversampling.copy_(self.log_oversampling)
        return made

    def start_from(self, saved: Network) -> None:
        """Take the weights of another specialist's body, or of a generalist like the body."""
        self.body.start_from(saved.body if isinstance(saved, Specialist) else saved)

    def forward(self, inputs: Tensor) -> Tensor:
        """(labels, num_classes) logits, equal for all classes of the dustbin."""
        logits: Tensor = self.body(inputs).float()
        dustbin = logits.masked_fill(self.special, _NONE).logsumexp(dim=1, keepdim=True)
        share = (~self.special).sum().clamp_min(1).log()
        lower = self.log_oversampling if self.training else torch.zeros_like(self.log_oversampling)
        return torch.where(self.special, logits, dustbin - share - lower)
