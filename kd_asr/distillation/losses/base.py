"""The interface of losses, and what they share."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal, SoftTargets
from kd_asr.networks.outputs import Outputs

# The hard label of an example that has none: its hard loss is 0, so that soft targets alone teach it.
UNLABELLED = -100


class Loss(Protocol):
    """A pure function of a network's outputs, the teacher's signal and the batch; made from its settings.

    Attributes:
        needs: Inputs of the loss: `labels`, the teacher's `posteriors`, or the posteriors of its `members` one by one.
    """

    needs: ClassVar[frozenset[str]]

    def __call__(self, outputs: Outputs, signal: Signal, batch: Batch, /) -> Tensor:
        """(labels,) float32 values in nats; the caller takes the mean."""
        ...


def posteriors_of(signal: Signal) -> SoftTargets:
    """The soft targets of a signal.

    Raises:
        ValueError: there are none.
    """
    if signal.targets is None:
        raise ValueError("a batch without soft targets: give the examples a teacher")
    return signal.targets


def check_shapes(logits: Tensor, targets: SoftTargets) -> None:
    """Raise a `ValueError` unless logits and targets have the same numbers of examples and classes."""
    expected = (targets.classes.shape[0], targets.num_classes)
    if tuple(logits.shape) != expected:
        raise ValueError(f"logits of shape {tuple(logits.shape)} for soft targets of shape {expected}")
