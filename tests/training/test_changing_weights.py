"""Losses whose weights change over a training: against a loop by hand, and interrupted."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kd_asr.device import HOST
from kd_asr.distillation.objectives import hinton_losses, objective_at, objective_of, weighted
from kd_asr.distillation.teachers.live import LiveTeacher
from kd_asr.errors import UserError
from kd_asr.training.examples import Examples
from kd_asr.training.fit import fit
from kd_asr.training.schedule import learning_rate
from kd_asr.training.settings import TrainSettings

SETTINGS = TrainSettings(
    epochs=5, batch_frames=24, optimiser="sgd", learning_rate=0.1, weight_decay=0.0, precision="fp32",
    checkpoint_seconds=0.0,
)  # fmt: skip
LOSSES = hinton_losses(temperature=3.0, soft_weight=4.0, hard_weight=1.0)
# Fused, and as a mean of losses.
EITHER = [LOSSES, (weighted("kl", weight=4.0), *LOSSES[1:])]


def linear(seed: int) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(6, 5)


def examples() -> Examples:
    generator = torch.Generator().manual_seed(2)
    inputs, labels = torch.randn(24, 6, generator=generator), torch.randint(0, 5, (24,), generator=generator)
    return Examples(inputs, labels, LiveTeacher([linear(1)], precision="fp32"))


def trained(folder: Path, losses=LOSSES, advance=lambda amount: None) -> torch.Tensor:
    model = linear(0)
    objective = objective_of(losses, last_weights=(1.0, 1.0))
    fit(
        model, examples(), objective, SETTINGS, seed=3, device=HOST, folder=folder, validate=None, advance=advance,
    )  # fmt: skip
    return model.weight.detach()


def test_every_update_has_its_own_weights(tmp_path) -> None:
    """All examples are in every batch, so that their order changes nothing."""
    model, teacher, inputs, labels = linear(0), linear(1), examples().inputs, examples().hard_labels
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for update, soft_weight in enumerate([4.0, 3.25, 2.5, 1.75, 1.0]):
        logits = model(inputs)
        with torch.no_grad():
            p = (teacher(inputs) / 3).softmax(1)
        soft = 9 * -(p * (logits / 3).log_softmax(1)).sum(1).mean()
        loss = (soft_weight * soft + F.cross_entropy(logits, labels)) / (soft_weight + 1)
        optimiser.param_groups[0]["lr"] = learning_rate(update, updates=5, peak=0.1, warmup=SETTINGS.warmup)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert torch.allclose(trained(tmp_path), model.weight, atol=1e-6)


@pytest.mark.parametrize("losses", EITHER, ids=["fused", "mean"])
def test_a_training_that_was_interrupted_goes_on_with_the_weights_of_its_update(tmp_path, losses) -> None:
    whole, calls = trained(tmp_path / "whole", losses), []

    def stop(amount: float) -> None:
        calls.append(amount)
        if len(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "other", losses, stop)
    assert torch.equal(trained(tmp_path / "other", losses), whole)


def test_weights_that_do_not_change_are_the_same_objective() -> None:
    plain = objective_of(LOSSES)
    assert objective_at(plain, 0.5) is plain
    assert objective_at(objective_of(LOSSES, last_weights=(2.0, 3.0)), 1.0) == objective_of(
        hinton_losses(temperature=3.0, soft_weight=2.0, hard_weight=3.0)
    )
    with pytest.raises(UserError, match="give one last weight for each of soft, hard, at least one of them above 0"):
        objective_of(LOSSES, last_weights=(0.0, 0.0))
