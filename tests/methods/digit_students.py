"""Trainings that methods plan for the bundled digits, with networks in miniature."""

from pathlib import Path

import torch

from kd_asr.device import HOST
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import train_teachers
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.experiments.mnist.table import DigitTask
from kd_asr.jobs.job import Job
from kd_asr.jobs.run import run
from kd_asr.methods.base import Plan, Task
from kd_asr.networks.base import Network
from kd_asr.networks.files import load_network
from kd_asr.registry import named
from kd_asr.settings.files import parse_settings_of

FLAGS = [
    *("--data.source=digits", "--seeds=1", "--members=1", "--jobs=1", "--device=cpu", "--distilled.learning_rate=0.01"),
    *(f"--{name}.network.dnn.hidden_units=12" for name in ("teacher", "hard", "distilled")),
    *(f"--{name}.epochs=4" for name in ("teacher", "hard", "distilled")),
    *(f"--{name}.batch_images=64" for name in ("teacher", "hard", "distilled")),
]
SETTINGS = parse_settings_of(MnistSettings, FLAGS)
DIGIT_TASK = DigitTask(SETTINGS)


def plan_of(name: str, method_settings: object = None, *, task: Task = DIGIT_TASK) -> Plan:
    """Plan of a method, for these digits unless another task is given."""
    plan: Plan = named("method", name, method_settings).make().plan(task)
    return plan


def trained(run_dir: Path, plan: Plan) -> None:
    """Train what a plan holds, after the teachers."""
    digits(run_dir, SETTINGS)
    train_teachers(run_dir, SETTINGS, DIGIT_TASK.teachers(0))
    run(plan.jobs, run_dir, processes=1, device=HOST, description="students", unit="images")


def network_of(run_dir: Path, artifact: str) -> Network:
    """A trained network."""
    return load_network(run_dir / artifact / "model.safetensors")


def asked(run_dir: Path, job: Job, numbers: torch.Tensor) -> tuple[Batch, Signal]:
    """A batch of a job's images, and what its teacher says of it."""
    examples = job.data.open(run_dir, job).examples
    assert examples.teacher is not None
    examples.teacher.put(HOST)
    batch = examples.batch(numbers)
    return batch, examples.teacher.answer(batch)
