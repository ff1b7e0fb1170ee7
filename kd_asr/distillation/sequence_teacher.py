"""What a sequence loss compares, given beside the outputs of a teacher, if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from kd_asr.device import Device
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal
from kd_asr.distillation.teachers.base import Teacher
from kd_asr.sequence.forward_backward import SequenceGraphs


class SequenceTeacher(Teacher):
    """Gives the graphs of the utterances, and what another teacher gives.

    It is no teacher to be chosen by name: data for sequence training has it in front of the one that was chosen.
    """

    gives = frozenset({"graphs"})
    source = "nothing"

    def __init__(self, graphs: SequenceGraphs, inner: Teacher | None = None) -> None:
        """`graphs`: of the utterances whose frames `read` is asked about."""
        self._graphs = graphs
        self._inner = inner

    @property
    def taps(self) -> Mapping[str, int]:
        """Middle layers of the other teacher."""
        return self._inner.taps if self._inner is not None else {}

    def put(self, device: Device) -> None:
        """Move the graphs, and the other teacher."""
        self._graphs = device.put(self._graphs)
        if self._inner is not None:
            self._inner.put(device)

    def read(self, numbers: Tensor) -> Signal:
        """The frames' numbers, which stay with the labels when batches are cut and joined."""
        signal = self._inner.read(numbers) if self._inner is not None else Signal()
        return replace(signal, frames=numbers)

    def answer(self, batch: Batch) -> Signal:
        """The graphs, on the device."""
        signal = self._inner.answer(batch) if self._inner is not None else batch.signal
        return replace(signal, frames=batch.signal.frames, graphs=self._graphs)
