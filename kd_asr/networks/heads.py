"""A network with several heads on a shared body, one for each member of an ensemble (Hydra: Tran and others 2020, arXiv
2001.04694)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

from torch import Tensor

from kd_asr.features.inputs import Indexable
from kd_asr.networks.base import Network, network_class, problems_of, view_of
from kd_asr.networks.body import WithBody
from kd_asr.networks.views import View
from kd_asr.registry import Named, named, network
from kd_asr.settings.ranges import AtLeast, AtMost, OfKind


@dataclass(frozen=True)
class HeadsSettings:
    """A network whose output layer is there several times, above one body.

    Attributes:
        heads: Output layers, each for all classes.
        body: Network whose hidden layers the heads share.
    """

    heads: Annotated[int, AtLeast(1), AtMost(1000)] = 2
    body: Annotated[Named, OfKind("network")] = field(default_factory=lambda: named("network", "dnn"))


@network("heads")
class Heads(WithBody):
    """A body with heads * classes outputs. The logits are the logarithm of the mean of the heads' posteriors, so that
    their softmax is that mean; `outputs_of` gives the logits of each head as well.

    Inputs are those of the body; output (labels, num_classes) log-posteriors.
    """

    Settings = HeadsSettings
    head_layer = "body"

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, settings: HeadsSettings, body: Network | None = None
    ) -> None:
        """`body`: one with heads * classes outputs; None: a new one."""
        super().__init__(input_shape, num_classes, settings)
        inner = network_class(settings.body.name)
        self.body = body or inner(input_shape, settings.heads * num_classes, settings.body.settings)
        self.row_axis = inner.row_axis

    @classmethod
    def view(cls, settings: HeadsSettings) -> View:
        """That of the body."""
        return view_of(settings.body)

    @classmethod
    def problems(cls, settings: HeadsSettings, input_shape: tuple[int, ...]) -> list[str]:
        """Those of the body, and heads within heads."""
        if network_class(settings.body.name).head_layer:
            return [f"body: {settings.body.name} has several heads itself"]
        return [f"body: {problem}" for problem in problems_of(settings.body, input_shape)]

    @classmethod
    def for_training(
        cls, inputs: Indexable, input_shape: tuple[int, ...], num_classes: int, settings: HeadsSettings
    ) -> Network:
        """The network around a body as its own class wants to be trained."""
        inner, outputs = network_class(settings.body.name), settings.heads * num_classes
        body = inner.for_training(inputs, input_shape, outputs, settings.body.settings)
        return cls(input_shape, num_classes, settings, body)

    def as_saved(self) -> Network:
        """The same function around a body of the class that is registered."""
        body = self.body.as_saved()
        if body is self.body:
            return self
        return Heads(self.input_shape, self.num_classes, self.settings, body).train(self.training)

    def start_from(self, saved: Network) -> None:
        """Take the weights of another body."""
        assert isinstance(saved, Heads)
        self.body.start_from(saved.body)

    def forward(self, inputs: Tensor) -> Tensor:
        """(labels, num_classes) log-posteriors."""
        logits: Tensor = self.body(inputs)
        of_heads = logits.float().view(len(logits), self.settings.heads, self.num_classes).log_softmax(dim=2)
        mean: Tensor = of_heads.logsumexp(dim=1) - math.log(self.settings.heads)
        return mean
