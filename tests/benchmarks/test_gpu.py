import torch

from benchmarks.gpu import step_operations
from benchmarks.training_step import step_operations as of_layers
from kd_asr.networks.base import seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.registry import named
from kd_asr.training.examples import Examples


def test_operations_of_an_update_are_those_of_its_products() -> None:
    network = seeded(named("network", "dnn", DnnSettings(1, 1, hidden_layers=2, hidden_units=7)), (3, 4), 5, seed=0)
    examples = Examples(torch.randn(20, 12), torch.zeros(20))
    assert step_operations(network, examples, 8) == 8 * of_layers((12, 7, 7, 5))
