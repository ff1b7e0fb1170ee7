"""One update of a network. Nothing in it waits for its outcome: the host goes on while the device still computes."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from kd_asr.device import Device
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.objectives import Objective, ObjectiveValue, values_of_networks
from kd_asr.distillation.teachers.base import Teacher
from kd_asr.networks.base import outputs_of
from kd_asr.networks.outputs import Outputs
from kd_asr.networks.stack import Stack
from kd_asr.training.distributed import training_group
from kd_asr.training.settings import TrainSettings


def new_optimiser(
    model: nn.Module, settings: TrainSettings, *, axes: int = 0, recorded: bool = False
) -> torch.optim.Optimizer:
    """What `settings.optimiser` says; biases and normalisation parameters are not decayed.

    Args:
        model: whose parameters are optimised.
        settings: of the training.
        axes: of the parameters in front of their own, as those of a stack of networks have one.
        recorded: whether its updates are made by `Device.repeated`; the learning rate is then a tensor.
    """
    rate: float | Tensor = settings.learning_rate
    if recorded:
        # The first updates are made before one is recorded, of which torch's optimisers warn.
        warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
        rate = torch.tensor(rate, device=next(model.parameters()).device)
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1 + axes]
    plain = [parameter for parameter in model.parameters() if parameter.ndim <= 1 + axes]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr=rate, fused=True, capturable=recorded)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next update."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def step(
    model: nn.Module,
    batch: Batch,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    *,
    teacher: Teacher | None = None,
    taps: Collection[str] = (),
    device: Device,
    bf16: bool,
    weight: float,
) -> ObjectiveValue:
    """Make an update.

    Args:
        model: on the device, as are the optimiser's parameters.
        batch: on the device.
        objective: to minimise.
        optimiser: with the learning rate of this update.
        teacher: source of the batch's signal, on the device; None: no teacher.
        taps: middle layers of the model that the objective needs.
        device: where all of this is.
        bf16: whether the network's matrix products are made in bf16.
        weight: of the gradient; of the batch among those of other ranks.

    Returns:
        the objective before the update, still on the device.
    """
    if teacher is not None:
        batch = replace(batch, signal=teacher.answer(batch))
    model.train()
    with device.matrix_precision(bf16=bf16):
        outputs = outputs_of(model, batch.inputs, taps)
    heads = outputs.heads.float() if outputs.heads is not None else None
    value = objective(Outputs(outputs.logits.float(), outputs.taps, heads), batch)
    optimiser.zero_grad(set_to_none=True)
    (value.total if weight == 1.0 else value.total * weight).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return value


def stacked_step(
    stack: Stack,
    batch: Batch,
    objectives: Sequence[Objective],
    optimiser: torch.optim.Optimizer,
    *,
    teacher: Teacher | None = None,
    device: Device,
    bf16: bool,
) -> list[ObjectiveValue]:
    """`step` of several networks as one: `batch` has a part for each, and each an objective of its own."""
    if teacher is not None:
        batch = replace(batch, signal=teacher.answer(batch))
    stack.train()
    with device.matrix_precision(bf16=bf16):
        logits = stack(batch.inputs.view(len(objectives), -1, *batch.inputs.shape[1:]))
    values = values_of_networks(objectives, logits.float(), batch)
    optimiser.zero_grad(set_to_none=True)
    # No network's numbers are in another's objective, so the gradient of the sum is that of each.
    torch.stack([value.total for value in values]).sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return values


@dataclass
class RunningMeans:
    """Means of the objective and its losses over some updates, summed where the losses are.

    Attributes:
        names: of the losses; the objective itself, which is the first, has none.
        sums: (names,) float64; None before the first update.
        count: updates.
    """

    names: list[str] = field(default_factory=list)
    sums: Tensor | None = None
    count: int = 0

    def add(self, value: ObjectiveValue, weight: float) -> None:
        """Count an update, of which `weight` is the weight of its batch among those of other ranks."""
        self.accumulate(value, weight)
        self.count += 1

    @torch.no_grad()
    def accumulate(self, value: ObjectiveValue, weight: float = 1.0) -> None:
        """What an update does on the device: after the first one, always to the same tensor."""
        losses = torch.stack([value.total, *value.losses.values()]).double()
        if weight != 1.0:
            losses = weight * losses
        self.names = ["", *value.losses]
        self.sums = losses if self.sums is None else self.sums.add_(losses)

    def take(self) -> tuple[float, dict[str, float]]:
        """The objective and the losses by name, means over all ranks; begins anew. The host waits for the device."""
        assert self.sums is not None
        sums = dict(zip(self.names, self.sums.tolist(), strict=True))
        self.sums.zero_()
        means = training_group().average({name: total / self.count for name, total in sums.items()})
        self.count = 0
        return means.pop(""), means

    def to_checkpoint(self) -> dict[str, Any]:
        """For `from_checkpoint`."""
        return {"names": self.names, "sums": None if self.sums is None else self.sums.tolist(), "count": self.count}

    @classmethod
    def from_checkpoint(cls, saved: dict[str, Any], device: Device) -> RunningMeans:
        """What `to_checkpoint` gave, to go on with on a device."""
        sums = saved["sums"]
        if sums is not None:
            sums = device.put(torch.tensor(sums, dtype=torch.float64))
        return cls(saved["names"], sums, saved["count"])
