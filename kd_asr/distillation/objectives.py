"""Objectives: weighted means of losses. Each loss is logged by its name, unweighted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from torch import Tensor

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import Loss, TapLoss, on_taps, posteriors_of
from kd_asr.distillation.losses.hard import HardLoss, HardSettings
from kd_asr.distillation.losses.soft import SoftLoss, SoftSettings
from kd_asr.distillation.signal import Signal
from kd_asr.distillation.soft_and_hard import soft_and_hard_loss
from kd_asr.errors import UserError
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import Named, Weighted, find


@dataclass(frozen=True)
class ObjectiveValue:
    """Value of an objective.

    Attributes:
        total: Scalar tensor with a gradient, to minimise.
        losses: Scalar tensors by name, without weights, in nats.
    """

    total: Tensor
    losses: dict[str, Tensor]


class Objective(Protocol):
    """Function of a network's outputs and their batch that returns the value to minimise."""

    def __call__(self, outputs: Outputs, batch: Batch, /) -> ObjectiveValue: ...


@dataclass(frozen=True)
class MeanObjective:
    """Weighted mean of losses, sum of w_i L_i / sum of w_i, where each L_i is a mean over the labels of the batch.

    Attributes:
        losses: Name, function and weight of each loss.
    """

    losses: tuple[tuple[str, Loss, float], ...]

    def __call__(self, outputs: Outputs, batch: Batch) -> ObjectiveValue:
        """The objective of a batch."""
        values = {name: loss(outputs, batch.signal, batch).mean() for name, loss, _ in self.losses}
        weights = sum(weight for _, _, weight in self.losses)
        total = sum(values[name] * (weight / weights) for name, _, weight in self.losses)
        assert isinstance(total, Tensor)
        return ObjectiveValue(total, values)

    @property
    def is_hard(self) -> bool:
        """Whether it is the hard loss alone."""
        return len(self.losses) == 1 and isinstance(self.losses[0][1], HardLoss)

    def of_networks(self, logits: Tensor, batch: Batch) -> list[ObjectiveValue]:
        """The hard loss of (networks, labels, classes) logits, each for its part of the batch, at the price of one."""
        [(name, loss, _)] = self.losses
        values = loss(Outputs(logits.flatten(0, 1)), batch.signal, batch).view(len(logits), -1).mean(dim=1)
        return [ObjectiveValue(value, {name: value}) for value in values.unbind()]


@dataclass(frozen=True)
class HintonObjective:
    """(l1 T^2 L_soft + l2 L_hard) / (l1 + l2) (Hinton, Vinyals, Dean 2015, section 2), fused.

    Attributes:
        temperature: Temperature T of the soft loss.
        soft_weight: Weight l1.
        hard_weight: Weight l2; 0 ignores the hard labels.
    """

    temperature: float
    soft_weight: float
    hard_weight: float

    def __call__(self, outputs: Outputs, batch: Batch) -> ObjectiveValue:
        """The objective of a batch, which must carry soft targets."""
        total, soft, hard = self._losses(outputs.logits, batch, networks=1)
        return ObjectiveValue(total, {"soft": soft, "hard": hard})

    def of_networks(self, logits: Tensor, batch: Batch) -> list[ObjectiveValue]:
        """The same for (networks, labels, classes) logits, each for its part of the batch, at the price of one."""
        losses = self._losses(logits.flatten(0, 1), batch, networks=len(logits))
        each = zip(*(loss.view(-1).unbind() for loss in losses), strict=True)
        return [ObjectiveValue(total, {"soft": soft, "hard": hard}) for total, soft, hard in each]

    def _losses(self, logits: Tensor, batch: Batch, *, networks: int) -> tuple[Tensor, Tensor, Tensor]:
        return soft_and_hard_loss(
            logits,
            posteriors_of(batch.signal),
            batch.hard_labels,
            temperature=self.temperature,
            soft_weight=self.soft_weight,
            hard_weight=self.hard_weight,
            networks=networks,
        )


@dataclass(frozen=True)
class PeersObjective:
    """Sum of an objective over several networks, each of which has the others as peers.

    Attributes:
        one: Objective of each network; `Signal.members` are the others' log-posteriors, as constants.
    """

    one: Objective

    def __call__(self, outputs: Outputs, batch: Batch) -> ObjectiveValue:
        """The objective of a batch: logits are (networks, labels, classes), losses means over the networks."""
        log_posteriors = outputs.logits.detach().log_softmax(dim=-1)
        values = []
        for number, logits in enumerate(outputs.logits):
            others = tuple(one for place, one in enumerate(log_posteriors) if place != number)
            signal = Signal(batch.signal.targets, others)
            values.append(self.one(Outputs(logits), Batch(batch.examples, batch.inputs, batch.hard_labels, signal)))
        totals = [value.total for value in values]
        means = {name: sum(value.losses[name] for value in values) / len(values) for name in values[0].losses}
        return ObjectiveValue(sum(totals[1:], totals[0]), means)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ChangingObjective:
    """An objective whose weights change linearly from the first update to the last.

    Attributes:
        first: Objective of the first update.
        last: The same losses with the weights of the last update.
    """

    first: MeanObjective | HintonObjective
    last: MeanObjective | HintonObjective

    def at(self, progress: float) -> MeanObjective | HintonObjective:
        """The objective of an update: 0 is the first, 1 the last."""

        def between(one: float, other: float) -> float:
            return one + progress * (other - one)

        first, last = self.first, self.last
        if isinstance(first, HintonObjective) and isinstance(last, HintonObjective):
            soft, hard = between(first.soft_weight, last.soft_weight), between(first.hard_weight, last.hard_weight)
            return HintonObjective(first.temperature, soft, hard)
        assert isinstance(first, MeanObjective) and isinstance(last, MeanObjective)
        pairs = zip(first.losses, last.losses, strict=True)
        return MeanObjective(tuple((name, loss, between(one, other)) for (name, loss, one), (_, _, other) in pairs))

    def __call__(self, outputs: Outputs, batch: Batch) -> ObjectiveValue:
        """The objective of the first update; `objective_at` gives that of any."""
        return self.first(outputs, batch)


def objective_at(objective: Objective, progress: float) -> Objective:
    """The objective of an update, by the share of the training that is done: 0 for the first, 1 for the last."""
    if isinstance(objective, PeersObjective):
        return PeersObjective(objective_at(objective.one, progress))
    return objective.at(progress) if isinstance(objective, ChangingObjective) else objective


def values_of_networks(objectives: Sequence[Objective], logits: Tensor, batch: Batch) -> list[ObjectiveValue]:
    """Values of the objectives of several networks.

    Args:
        objectives: one for each network; neighbours that are equal are computed together where that is possible.
        logits: (networks, labels, classes) float32.
        batch: of all networks, in equal parts.
    """
    values: list[ObjectiveValue] = []
    while len(values) < len(objectives):
        first, objective = len(values), objectives[len(values)]
        last = first + 1
        while last < len(objectives) and _computed_together(objective, objectives[last]):
            last += 1
        if isinstance(objective, (MeanObjective, HintonObjective)) and _computed_together(objective, objective):
            values += objective.of_networks(logits[first:last], batch.part(first, last, len(objectives)))
        else:
            values.append(objective(Outputs(logits[first]), batch.part(first, last, len(objectives))))
    return values


def _computed_together(one: Objective, other: Objective) -> bool:
    """Whether two networks' objectives are the same sum over labels, none of which needs to know of the others."""
    if isinstance(one, MeanObjective) and isinstance(other, MeanObjective):
        return one.is_hard and other.is_hard
    return isinstance(one, HintonObjective) and one == other


def weighted(name: str, settings: object = None, *, weight: float = 1.0) -> Weighted:
    """A registered loss with settings, by default its own defaults, and a weight."""
    return Weighted(Named("loss", name, settings if settings is not None else find("loss", name).Settings()), weight)


HARD = (weighted("hard", HardSettings()),)


def hinton_losses(temperature: float, soft_weight: float, hard_weight: float) -> tuple[Weighted, ...]:
    """Soft and hard loss, for `objective_of`."""
    soft = weighted("soft", SoftSettings(temperature=temperature), weight=soft_weight)
    return soft, weighted("hard", HardSettings(), weight=hard_weight)


def described(losses: Sequence[Weighted]) -> str:
    """Losses with settings and weights, such as `soft loss (temperature 2; weight 1), hard loss (weight 0.5)`."""

    def one(item: Weighted) -> str:
        values = {key.replace("_", " "): value for key, value in asdict(item.loss.settings).items()}
        settings = [f"{key} {value if isinstance(value, str) else f'{value:g}'}" for key, value in values.items()]
        return f"{item.loss.name.replace('_', ' ')} loss ({'; '.join([*settings, f'weight {item.weight:g}'])})"

    return ", ".join(map(one, losses))


def objective_of(
    losses: Sequence[Weighted], *, last_weights: Sequence[float] = (), who: str = "losses"
) -> Objective:
    """The objective of a list of losses; the pair of `soft` and `hard` is computed together, with a closed-form
    gradient.

    Args:
        losses: with their weights.
        last_weights: weights in the last update, see `ChangingObjective`; empty: weights do not change.
        who: begins the sentence of an error, such as `distil/student-00`.

    Raises:
        UserError: there is no loss, two have one name, no weight is above 0, or the last weights are not one for each.
    """
    names = [item.loss.name for item in losses]
    if not losses or sum(item.weight for item in losses) <= 0:
        raise UserError(f"{who}: name at least one loss with a weight above 0")
    if len(set(names)) < len(names):
        raise UserError(f"{who}: {', '.join(names)}: name each loss once")
    made: list[tuple[str, Loss, float]] = [(item.loss.name, item.loss.make(), item.weight) for item in losses]
    if not last_weights:
        return _objective_of(made)
    if len(last_weights) != len(losses) or sum(last_weights) <= 0:
        raise UserError(f"{who}: give one last weight for each of {', '.join(names)}, at least one of them above 0")
    last = [(name, loss, weight) for (name, loss, _), weight in zip(made, last_weights, strict=True)]
    return ChangingObjective(_objective_of(made), _objective_of(last))


def _objective_of(made: Sequence[tuple[str, Loss, float]]) -> MeanObjective | HintonObjective:
    soft = next(((loss, weight) for _, loss, weight in made if isinstance(loss, SoftLoss)), None)
    hard = next((weight for _, loss, weight in made if isinstance(loss, HardLoss)), None)
    if len(made) == 2 and soft is not None and hard is not None:
        return HintonObjective(soft[0].settings.temperature, soft[1], hard)
    return MeanObjective(tuple(made))


def tap_losses(objective: Objective) -> dict[str, TapLoss]:
    """The losses of an objective on middle layers, by name."""
    if isinstance(objective, ChangingObjective):
        objective = objective.first
    if not isinstance(objective, MeanObjective):
        return {}
    found = {name: on_taps(loss) for name, loss, _ in objective.losses}
    return {name: loss for name, loss in found.items() if loss is not None}


def needs_of(losses: Sequence[Weighted]) -> frozenset[str]:
    """Everything that some losses need."""
    return frozenset[str]().union(*(find("loss", item.loss.name).needs for item in losses))


def concentrations_of(losses: Sequence[Weighted]) -> Callable[[Tensor], Tensor] | None:
    """The Dirichlet distribution that losses teach a student to predict: (labels, classes) concentrations as a function
    of its logits. None if they teach it none."""
    made = (item.loss.make() for item in losses)
    return next((loss.concentrations for loss in made if hasattr(loss, "concentrations")), None)


def check_needs(losses: Sequence[Weighted], gives: frozenset[str], *, who: str) -> None:
    """Refuse losses that need more than there is.

    Args:
        losses: losses of a job.
        gives: outputs of its teacher, `labels` if the data has any, and `heads` if the network has several.
        who: beginning of the error message, such as `the method decoupled`.

    Raises:
        UserError: a loss needs what there is not; names both.
    """
    for item in losses:
        lacking = sorted(find("loss", item.loss.name).needs - gives)
        if lacking:
            has = ", ".join(sorted(gives)) or "nothing"
            raise UserError(
                f"{who}: the loss {item.loss.name!r} needs {' and '.join(lacking)}, but its teacher gives {has}"
            )
