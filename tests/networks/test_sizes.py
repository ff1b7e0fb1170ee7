import pytest
import torch

from kd_asr.networks.base import count_parameters, network_class
from kd_asr.networks.cnn import CnnSettings
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.sizes import of_size
from kd_asr.networks.tdnn import TdnnSettings
from kd_asr.registry import named

NETWORKS = [
    (named("network", "dnn", DnnSettings(hidden_units=48, hidden_layers=2)), (15, 40)),
    (named("network", "cnn", CnnSettings(hidden_units=40)), (11, 40)),
    (named("network", "tdnn", TdnnSettings(dilations=(1, 3), hidden_units=32)), (40,)),
]


def parameters(network, shape) -> int:
    return count_parameters(network_class(network.name)(shape, 30, network.settings))


@pytest.mark.parametrize(("network", "shape"), NETWORKS, ids=lambda one: getattr(one, "name", ""))
@pytest.mark.parametrize("share", [0.5, 0.25, 0.125])
def test_no_other_width_comes_nearer_to_the_share(network, shape, share) -> None:
    state = torch.get_rng_state()
    found = of_size(network, share, shape, 30)
    assert torch.equal(torch.get_rng_state(), state)
    wanted = share * parameters(network, shape)
    every = {
        units: abs(parameters(type(network)(network.kind, network.name, with_units(network, units)), shape) - wanted)
        for units in range(1, network.settings.hidden_units + 1)
    }
    assert every[found.settings.hidden_units] == min(every.values())


def with_units(network, units):
    return type(network.settings)(**{**vars(network.settings), "hidden_units": units})


def test_all_is_the_network_itself_and_wide_ones_stay_multiples_of_eight() -> None:
    wide = named("network", "tdnn", TdnnSettings(dilations=(1, 3, 3, 3, 3, 6), hidden_units=512))
    assert of_size(wide, 1.0, (40,), 30) is wide
    quarter = of_size(wide, 0.25, (40,), 30)
    assert quarter.settings.hidden_units % 8 == 0
    assert parameters(quarter, (40,)) / parameters(wide, (40,)) == pytest.approx(0.25, abs=0.02)
