"""What time-delay networks share: which frames of a stretch their hidden layers compute, and how these are named."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from kd_asr.networks.base import Network


class Dilated(Network):
    """Base of networks whose `hidden` layers see frames `settings.dilations` apart, one of these for each layer.

    In training mode, and with `only_labelled`, only every `settings.frame_stride`-th frame has logits.
    """

    hidden: nn.Sequential | nn.ModuleList
    row_axis = 1

    @classmethod
    def problems(cls, settings: object, input_shape: tuple[int, ...]) -> list[str]:
        """Inputs that are not stretches of frames."""
        if len(input_shape) == 1:
            return []
        shown = " x ".join(map(str, input_shape))
        return [f"dilations: a time-delay network sees stretches of frames, not images of {shown}; choose dnn or cnn"]

    @property
    def taps(self) -> Mapping[str, int]:
        """The hidden layers."""
        return {f"hidden.{number}": self.settings.hidden_units for number in range(len(self.hidden))}

    def tap_rows(self, name: str, outputs: Tensor) -> Tensor:
        """(labels, units) outputs of a hidden layer, for the frames that have logits."""
        number = int(name.rsplit(".", maxsplit=1)[-1])
        computed = self._computed(number)
        first = sum(self.settings.dilations[number + 1 :]) // computed
        return outputs[:, first : outputs.shape[1] - first : self._stride // computed].flatten(0, 1)

    @property
    def _stride(self) -> int:
        """Distance between the frames that have logits."""
        return int(self.settings.frame_stride) if self.training or self.only_labelled else 1

    def _computed(self, number: int) -> int:
        """Distance between the frames that hidden layer `number` computes; -1: a layer below them."""
        stride = self._stride
        return stride if all(dilation % stride == 0 for dilation in self.settings.dilations[number + 1 :]) else 1
