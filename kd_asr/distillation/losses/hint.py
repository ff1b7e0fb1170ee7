"""Hints of a teacher's middle layer (Romero, Ballas, Kahou, Chassang, Gatta, Bengio, ICLR 2015, arXiv 1412.6550)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import loss


@dataclass(frozen=True)
class HintSettings:
    """Distance of a student's middle layer, through a linear regressor, from a teacher's.

    Attributes:
        student_tap: The student's guided layer, such as `hidden.2`; `middle`: the one in the middle.
        teacher_tap: The hint, a layer of the first teacher.
    """

    student_tap: str = "middle"
    teacher_tap: str = "middle"


@loss("hint")
class HintLoss:
    """|u - r(v)|^2 / (2 D), for a teacher's layer u of D units and the student's layer v (equation 3, there without D).

    The regressor r is an affine map that is trained with the student and not saved.
    """

    Settings = HintSettings
    needs = frozenset({"taps"})

    def __init__(self, settings: HintSettings) -> None:
        self.student_tap = settings.student_tap
        self.teacher_tap = settings.teacher_tap
        self._regressor: nn.Module | None = None

    def adapter(self, student_width: int, teacher_width: int) -> nn.Module:
        """A new regressor."""
        self._regressor = nn.Linear(student_width, teacher_width)
        return self._regressor

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch) -> Tensor:
        """(labels,) float32.

        Raises:
            ValueError: there is no adapter yet.
        """
        if self._regressor is None:
            raise ValueError("the loss hint has no regressor: call `adapter` first")
        hint = signal.taps[self.teacher_tap]
        found: Tensor = self._regressor(outputs.taps[self.student_tap].to(hint.dtype))
        return 0.5 * (hint - found).square().mean(dim=1)
