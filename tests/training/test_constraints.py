import torch
from torch import nn

from kd_asr.training.constraints import limit_incoming_norms


def test_long_rows_are_cut_and_short_ones_are_left() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]))
        model[0].bias.fill_(9.0)
        model[2].weight.copy_(torch.tensor([[0.0, 2.0, 0.0]]))
    limit_incoming_norms(model, max_norm=1.0)
    assert torch.allclose(model[0].weight, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))
    assert torch.allclose(model[2].weight, torch.tensor([[0.0, 1.0, 0.0]]))
    assert torch.equal(model[0].bias, torch.full((3,), 9.0))
