"""An ensemble that is evaluated while the student learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, nn

from kd_asr.device import Precision
from kd_asr.distillation.signal import SoftTargets, top_k_targets
from kd_asr.features.inputs import Indexable
from kd_asr.networks.ensemble import Ensemble
from kd_asr.networks.inference import log_posteriors
from kd_asr.registry import teacher
from kd_asr.settings.ranges import AtLeast


@dataclass(frozen=True)
class LiveSettings:
    """An ensemble evaluated at every step.

    Attributes:
        average: Mean of the members' posteriors.
        top_k: Classes kept of each label's distribution.
        precision: Arithmetic of the matrix products; `auto` takes bf16 where the device is faster in it.
    """

    average: Literal["arithmetic", "geometric"] = "arithmetic"
    top_k: Annotated[int, AtLeast(1)] = 20
    precision: Precision = "auto"


@teacher("live")
class LiveTeacher:
    """Teacher that computes the averaged posteriors of its members for every batch."""

    Settings = LiveSettings
    gives = frozenset({"posteriors"})

    def __init__(
        self,
        members: Sequence[nn.Module],
        inputs: Indexable,
        settings: LiveSettings,
        *,
        tail_prior: Tensor | None = None,
    ) -> None:
        """Freeze the members.

        Args:
            members: networks, on the device where they are to be asked.
            inputs: what the teacher sees, which need not be what the student sees.
            settings: how they are averaged, what is kept.
            tail_prior: (classes,) how the mass outside the top k is shared, see `SoftTargets`; by default evenly.
        """
        self._model = Ensemble(members, settings.average).eval().requires_grad_(False)
        self._inputs = inputs
        self._settings = settings
        self._tail_prior = tail_prior

    def __call__(self, examples: Tensor) -> SoftTargets:
        """Soft targets of (batch,) int64 example numbers."""
        log_probs = log_posteriors(self._model, self._inputs, examples, precision=self._settings.precision)
        # Cloned out of inference mode, so that losses may save them for their backward pass.
        targets = top_k_targets(log_probs, self._settings.top_k, self._tail_prior)
        kept = targets.classes.clone(), targets.log_probs.clone(), targets.tail_mass.clone()
        return SoftTargets(*kept, targets.tail_prior)
