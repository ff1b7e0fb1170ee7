"""Teachers: whatever gives soft targets for a batch. A student cannot tell them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.targets import SoftTargets, top_k_targets
from kd_asr.features.inputs import Indexable
from kd_asr.features.spans import Spans
from kd_asr.networks.ensemble import Ensemble
from kd_asr.networks.inference import log_posteriors

Teacher = Callable[[Tensor], SoftTargets]


def speaks_of_each_alone(teacher: Teacher) -> bool:
    """Whether what it says of an example does not depend on the others it is asked about, so that many batches can be
    asked for at once."""
    return bool(getattr(teacher, "each_alone", False))


class RenumberedTeacher:
    """What a teacher says, under other numbers: example i here are the examples `numbers[i]` there."""

    def __init__(self, teacher: Teacher, numbers: Tensor) -> None:
        """`numbers`: (examples,) int64, or (examples, labels) where an example here has several of the teacher's."""
        self._teacher = teacher
        self._numbers = numbers
        self.each_alone = speaks_of_each_alone(teacher)

    def __call__(self, examples: Tensor) -> SoftTargets:
        """Soft targets of (batch,) int64 example numbers, (batch * labels,) of them."""
        return self._teacher(self._numbers[examples].flatten())


class EnsembleTeacher:
    """Computes the averaged posteriors of its members when they are asked for."""

    def __init__(
        self,
        members: Sequence[nn.Module],
        inputs: Indexable,
        *,
        average: Literal["arithmetic", "geometric"] = "arithmetic",
        top_k: int,
        background: Tensor | None = None,
        precision: Literal["auto", "bf16", "fp32"] = "auto",
    ) -> None:
        """Freeze the members.

        Args:
            members: networks.
            inputs: what the teacher sees, which need not be what the student sees.
            average: of the posteriors.
            top_k: classes kept.
            background: (classes,) how the mass outside them is shared, see `SoftTargets`; by default evenly.
            precision: of the matrix products.
        """
        self._model = Ensemble(members, average).eval().requires_grad_(False)
        self._inputs = inputs
        self._top_k = top_k
        self._background = background
        self._precision = precision

    def __call__(self, examples: Tensor) -> SoftTargets:
        """Soft targets of (batch,) int64 example numbers."""
        log_probs = log_posteriors(self._model, self._inputs, examples, precision=self._precision)
        # Cloned out of inference mode, so that losses may save them for their backward pass.
        targets = top_k_targets(log_probs, self._top_k, self._background)
        kept = targets.classes.clone(), targets.log_probs.clone(), targets.rest.clone()
        return SoftTargets(*kept, targets.background)


class StoredTeacher:
    """Reads posteriors from a store."""

    each_alone = True

    def __init__(self, store: PosteriorStore, utterance_ids: Sequence[str]) -> None:
        """Examples are the frames of `utterance_ids`, one utterance after the other, in the order given.

        Raises:
            UserError: an utterance is not in the store.
        """
        self._store = store
        self._frames = Spans([store.rows(name) for name in utterance_ids])

    def __call__(self, examples: Tensor) -> SoftTargets:
        """Soft targets of (batch,) int64 example numbers."""
        return self._store.targets(self._frames.rows(examples))
