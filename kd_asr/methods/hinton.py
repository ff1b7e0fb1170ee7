"""Distilling the knowledge in a neural network (Hinton, Vinyals, Dean 2015, arXiv 1503.02531).

A student of any architecture is fitted to a teacher's softened posteriors and to the hard labels at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from kd_asr.distillation.objectives import HintonObjective
from kd_asr.distillation.settings import DistilSettings
from kd_asr.training.examples import Examples
from kd_asr.training.fit import FitResult, Validation, fit
from kd_asr.training.settings import TrainSettings


def distil(
    student: nn.Module,
    examples: Examples,
    settings: DistilSettings,
    budget: TrainSettings,
    *,
    seed: int,
    folder: Path,
    validate: Callable[[nn.Module], Validation] | None,
    advance: Callable[[float], None] = lambda amount: None,
    after_update: Callable[[nn.Module], None] = lambda model: None,
    epoch_updates: int | None = None,
) -> FitResult:
    """Train `student` in place on examples that carry a teacher; arguments and result as in `training.fit.fit`.

    With `epoch_updates` the student has the budget of a network that is trained on fewer examples.
    """
    objective = HintonObjective(settings.temperature, settings.soft_weight, settings.hard_weight)
    return fit(
        student,
        examples,
        objective,
        budget,
        seed=seed,
        folder=folder,
        validate=validate,
        advance=advance,
        after_update=after_update,
        epoch_updates=epoch_updates,
    )
