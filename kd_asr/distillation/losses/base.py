"""The interface of losses, and what they share."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor, nn

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal, SoftTargets
from kd_asr.networks.outputs import Outputs

# The hard label of an example that has none: its hard loss is 0, so that soft targets alone teach it.
UNLABELLED = -100


class Loss(Protocol):
    """A pure function of a network's outputs, the teacher's signal and the batch; made from its settings.

    Attributes:
        needs: Inputs of the loss: `labels`, the teacher's `posteriors`, the posteriors of its `members` one by one, or
            its middle layers, `taps`; the logits of several `heads` of the student; what could have been said,
            `graphs`.
    """

    needs: ClassVar[frozenset[str]]

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch, /) -> Tensor:
        """(labels,) float32 values in nats; the caller takes the mean."""
        ...


class TapLoss(Loss, Protocol):
    """A loss on middle layers, with an adapter that is trained beside the network.

    Attributes:
        student_tap: Middle layer of the student; `middle`: the one in the middle.
        teacher_tap: Middle layer of the teacher.
    """

    student_tap: str
    teacher_tap: str

    def adapter(self, student_width: int, teacher_width: int) -> nn.Module:
        """A new adapter for layers of these widths, which the loss uses from now on."""
        ...


def on_taps(loss: Loss) -> TapLoss | None:
    """The loss if it is one on middle layers."""
    return loss if hasattr(loss, "student_tap") else None  # type: ignore[return-value]


def posteriors_of(signal: Signal) -> SoftTargets:
    """The soft targets of a signal.

    Raises:
        ValueError: there are none.
    """
    if signal.targets is None:
        raise ValueError("a batch without soft targets: give the examples a teacher")
    return signal.targets


def members_of_signal(signal: Signal, logits: Tensor) -> tuple[Tensor, ...]:
    """The log-posteriors of the teacher's members, of the shape of the student's logits.

    Raises:
        ValueError: there are fewer than two, or one has another shape.
    """
    if len(signal.members) < 2:
        raise ValueError(f"{len(signal.members)} members to learn from: this loss needs an ensemble of two or more")
    for member in signal.members:
        if member.shape != logits.shape:
            raise ValueError(f"logits of shape {tuple(logits.shape)} beside a member of shape {tuple(member.shape)}")
    return signal.members


def check_shapes(logits: Tensor, targets: SoftTargets) -> None:
    """Raise a `ValueError` unless logits and targets have the same numbers of examples and classes."""
    expected = (targets.classes.shape[0], targets.num_classes)
    if tuple(logits.shape) != expected:
        raise ValueError(f"logits of shape {tuple(logits.shape)} for soft targets of shape {expected}")
