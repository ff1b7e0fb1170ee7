"""Networks that three ranks train together, and one process alone.

Each is written to FOLDER/NAME.pt with its losses and the number of inputs that this process has gathered.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kd_asr.device import HOST
from kd_asr.distillation.objectives import objective_of, weighted
from kd_asr.ranks import joined_ranks
from kd_asr.training.distributed import together
from kd_asr.training.examples import Examples
from kd_asr.training.fit import fit
from kd_asr.training.history import HISTORY
from kd_asr.training.settings import TrainSettings

# Batch sizes: shares of three ranks are equal, unequal, and partly empty.
FITS = {"equal": 9, "uneven": 8, "empty": 2}


class Net(nn.Module):
    """Batch normalisation with and without parameters and running statistics, of rows and of images, and parameters
    that take no part."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.rows = nn.Sequential(nn.Linear(64, 12), nn.BatchNorm1d(12, affine=False, momentum=None), nn.ReLU())
        self.out = nn.Sequential(nn.Linear(12, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 5))
        self.unused = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.out(self.rows(self.image(inputs[:, None])))
        return out


@dataclass
class Counted:
    """Inputs that count how many of them are gathered. Their mean is far from 0."""

    inputs: Tensor
    gathered: int = 0

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, examples: Tensor) -> Tensor:
        self.gathered += len(examples)
        return self.inputs[examples]


def train(folder: Path) -> None:
    """Train all of `FITS`."""
    with joined_ranks() as ranks:
        for name, batch_size in FITS.items():
            generator = torch.Generator().manual_seed(1)
            inputs = Counted(5 + torch.randn(36, 6, 6, generator=generator))
            labels = torch.randint(0, 5, (36,), generator=generator)
            torch.manual_seed(ranks.rank)  # rank 0's weights are everybody's
            model = Net()
            settings = TrainSettings(epochs=2, batch_frames=batch_size, precision="fp32", optimiser="sgd")
            (folder / name).mkdir(exist_ok=True, parents=True)
            with together():
                fit(
                    model, Examples(inputs, labels), objective_of([weighted("hard")]), settings,
                    seed=3, device=HOST, folder=folder / name, validate=None,
                )  # fmt: skip
            model.train()
            torch.save(
                {"weights": model.state_dict(), "gathered": inputs.gathered, "updates": 2 * (36 // batch_size)},
                folder / name / f"rank-{ranks.rank}.pt",
            )


def losses(folder: Path) -> list[float]:
    """Training losses of a fit."""
    return [json.loads(line)["train_loss"] for line in (folder / HISTORY).read_text().splitlines()]


def train_as_rank(rank: int, *, size: int, port: int, folder: Path) -> None:
    """`train` with the environment that torchrun gives to a rank."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    train(folder)
