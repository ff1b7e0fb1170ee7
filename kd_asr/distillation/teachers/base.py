"""The interface of teachers, and teachers addressed through an index."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from kd_asr.distillation.signal import SoftTargets

Teacher = Callable[[Tensor], SoftTargets]


def answers_per_example(teacher: Teacher) -> bool:
    """Whether the targets of an example do not depend on the rest of the batch, so that several batches can be read at
    once."""
    return bool(getattr(teacher, "per_example", False))


class IndexedTeacher:
    """A teacher addressed through an index: example i has the targets of the teacher's example or examples
    `index[i]`."""

    def __init__(self, teacher: Teacher, index: Tensor) -> None:
        """`index`: (examples,) int64, or (examples, labels) where an example has several labels."""
        self._teacher = teacher
        self._index = index
        self.per_example = answers_per_example(teacher)

    def __call__(self, examples: Tensor) -> SoftTargets:
        """Soft targets of (batch,) int64 example numbers, `batch * labels` rows."""
        return self._teacher(self._index[examples].flatten())
