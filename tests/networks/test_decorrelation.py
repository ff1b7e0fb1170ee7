from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from kd_asr.errors import UserError
from kd_asr.networks.base import new_network
from kd_asr.networks.decorrelation import principal_components
from kd_asr.networks.dnn import DNN, DnnSettings
from kd_asr.registry import named

SETTINGS = DnnSettings(hidden_layers=2, hidden_units=16, dropout=0.0, principal_components=5)


def correlated(count: int = 5000, dimension: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    mixing = torch.randn(dimension, dimension, generator=generator)
    return torch.randn(count, dimension, generator=generator) @ mixing + 2.0


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_components_are_uncorrelated_and_their_variances_are_powers_of_the_inputs(whitening) -> None:
    inputs = correlated()
    variances = PCA(5).fit(inputs.numpy()).explained_variance_
    components = principal_components(inputs, 5, whitening)
    found = ((inputs - components.mean) @ components.matrix).double().numpy()
    expected = variances ** (1 - whitening)
    assert np.allclose(found.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(np.cov(found.T), np.diag(expected / expected.mean()), atol=2e-3)


def test_components_are_scikit_learns_but_for_scale() -> None:
    inputs = correlated()
    matrix = principal_components(inputs, 4, 0.0).matrix
    axes = torch.from_numpy(PCA(4).fit(inputs.numpy()).components_).float()
    assert torch.allclose(torch.nn.functional.normalize(matrix.T, dim=1).mul(axes).sum(1).abs(), torch.ones(4))
    largest = matrix.gather(0, matrix.abs().argmax(dim=0, keepdim=True))
    assert (largest > 0).all()


def test_inputs_that_repeat_each_other_leave_finite_components() -> None:
    inputs = correlated(dimension=6)
    doubled = torch.cat([inputs, inputs], dim=1)
    assert torch.isfinite(principal_components(doubled, 12, 1.0).matrix).all()


def test_more_components_than_inputs_are_refused() -> None:
    with pytest.raises(UserError, match=r"principal_components: 13 are more than the 12 inputs"):
        principal_components(correlated(), 13, 0.5)


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        replace(SETTINGS, batch_normalisation=False),
        replace(SETTINGS, hidden_layers=0),
    ],
)
def test_the_network_on_inputs_is_the_same_function_and_the_trained_one_is_kept(settings) -> None:
    inputs = correlated()
    model = new_network(named("network", "dnn", settings), inputs, (3, 4), 7, 1)
    model.train()
    for part in torch.split(inputs, 500):  # lets batch normalisation see something
        model(part)
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plain = model.as_saved()
    assert isinstance(plain, DNN)
    assert plain.first_layer.in_features == 12
    assert not plain.training
    assert torch.allclose(plain(inputs), model(inputs), atol=1e-4)
    assert plain.as_saved() is plain
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    again = new_network(named("network", "dnn", settings), inputs, (3, 4), 7, 2)
    again.start_from(plain)
    for name, tensor in again.state_dict().items():
        assert torch.allclose(tensor, before[name], atol=1e-4), name
    direct = DNN((3, 4), 7, plain.settings)
    direct.start_from(plain)
    assert torch.equal(direct.eval()(inputs), plain(inputs))


def test_only_the_network_is_trained() -> None:
    model = new_network(named("network", "dnn", SETTINGS), correlated(), (3, 4), 7, 1)
    assert sum(parameter.numel() for parameter in model.parameters()) == sum(
        parameter.numel() for parameter in model.network.parameters()
    )
