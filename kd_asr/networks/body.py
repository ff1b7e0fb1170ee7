"""A network whose middle layers are those of another one inside it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from kd_asr.networks.base import Network


class WithBody(Network):
    """Base of networks that pass what is asked of their middle layers on to their body.

    Attributes:
        body: The network inside.
    """

    body: Network

    @property
    def only_labelled(self) -> bool:
        """That of the body."""
        return self.body.only_labelled

    @only_labelled.setter
    def only_labelled(self, wanted: bool) -> None:
        self.body.only_labelled = wanted

    @property
    def taps(self) -> Mapping[str, int]:
        """Middle layers of the body."""
        return self.body.taps

    def tapped(self, name: str) -> nn.Module:
        """The submodule of a tap of the body."""
        return self.body.tapped(name)

    def tap_rows(self, name: str, outputs: Tensor) -> Tensor:
        """(labels, width) outputs of a tap of the body."""
        return self.body.tap_rows(name, outputs)
