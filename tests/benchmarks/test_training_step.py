import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training_step import step_operations
from kd_asr.experiments.mnist.settings import TeacherSettings
from kd_asr.networks.base import seeded


def test_operations_are_those_that_torch_counts() -> None:
    model = seeded(TeacherSettings().network, (28, 28), 10, seed=0)
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(8, 784)).sum().backward()
    assert counter.get_total_flops() == 8 * step_operations((784, 1200, 1200, 10))
