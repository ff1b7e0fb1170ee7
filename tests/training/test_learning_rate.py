"""The learning rate of batches of other sizes than the one it was chosen for."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from kd_asr.device import HOST
from kd_asr.distillation.objectives import HARD, objective_of
from kd_asr.training.examples import Examples
from kd_asr.training.fit import fit
from kd_asr.training.history import HISTORY
from kd_asr.training.settings import TrainSettings


@pytest.mark.parametrize(
    "optimiser, batch, chosen_for, factor",
    [
        ("adamw", 512, 0, 1.0),
        ("adamw", 2048, 512, 2.0),
        ("adamw", 128, 512, 0.5),
        ("sgd", 2048, 512, 4.0),
        ("sgd", 8, 8, 1.0),
    ],
)
def test_it_goes_by_the_ratio_or_its_root(optimiser: str, batch: int, chosen_for: int, factor: float) -> None:
    settings = TrainSettings(
        optimiser=optimiser, batch_frames=batch, learning_rate=0.01, learning_rate_batch=chosen_for  # type: ignore[arg-type]
    )  # fmt: skip
    assert settings.peak_learning_rate == pytest.approx(0.01 * factor)


def test_a_training_uses_it(tmp_path: Path) -> None:
    """Gradient descent with twice the batch and rate makes the step of twice the rate."""
    weights = []
    for name, chosen_for, rate in (("scaled", 4, 0.1), ("given", 0, 0.2)):
        settings = TrainSettings(
            optimiser="sgd", batch_frames=8, learning_rate=rate, learning_rate_batch=chosen_for, epochs=1, warmup=0.0,
            precision="fp32",
        )  # fmt: skip
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        examples = Examples(torch.randn(16, 3), torch.randint(0, 2, (16,)))
        (tmp_path / name).mkdir()
        fit(
            model, examples, objective_of(HARD), settings, seed=1, device=HOST, folder=tmp_path / name, validate=None
        )  # fmt: skip
        weights.append(model.weight.detach().clone())
        history = [json.loads(line) for line in (tmp_path / name / HISTORY).read_text().splitlines()]
        assert history[0]["learning_rate"] == pytest.approx(0.2)
    assert torch.equal(*weights)
