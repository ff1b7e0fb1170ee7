"""What every teacher is, and how its examples are found under other numbers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from kd_asr.distillation.signal import SoftTargets

Teacher = Callable[[Tensor], SoftTargets]


def answers_per_example(teacher: Teacher) -> bool:
    """Whether the answer for an example is the same whatever else is asked, so that many batches can be asked for at
    once."""
    return bool(getattr(teacher, "per_example", False))


class IndexedTeacher:
    """A teacher addressed through an index: example i here is, or has for its labels, the examples `index[i]` there."""

    def __init__(self, teacher: Teacher, index: Tensor) -> None:
        """`index`: (examples,) int64, or (examples, labels) where an example here has several of the teacher's."""
        self._teacher = teacher
        self._index = index
        self.per_example = answers_per_example(teacher)

    def __call__(self, examples: Tensor) -> SoftTargets:
        """Soft targets of (batch,) int64 example numbers, (batch * labels,) of them."""
        return self._teacher(self._index[examples].flatten())
