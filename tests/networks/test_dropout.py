import pytest
import torch

from kd_asr.device import Device
from kd_asr.networks.dropout import ByteDropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.75])
def test_it_drops_the_share_it_is_told_and_keeps_the_mean(probability: float, device: Device) -> None:
    torch.manual_seed(0)
    layer = ByteDropout(probability)
    outputs = layer(device.put(torch.ones(1000, 1003)))
    dropped = round(256 * probability) / 256
    # A million coins: four standard deviations of the share are below 0.002.
    assert float((outputs == 0).float().mean()) == pytest.approx(dropped, abs=0.002)
    assert outputs.unique().tolist() == pytest.approx([0.0, 1 / (1 - dropped)])
    assert float(outputs.mean()) == pytest.approx(1.0, abs=0.01)


def test_units_are_dropped_independently_of_each_other() -> None:
    torch.manual_seed(1)
    kept = (ByteDropout(0.5)(torch.ones(20_000, 24)) > 0).double()
    correlations = torch.corrcoef(kept.T) - torch.eye(24)
    assert float(correlations.abs().max()) < 0.035  # five standard deviations


def test_nothing_is_dropped_in_evaluation_or_at_probability_0() -> None:
    inputs = torch.randn(5, 7)
    assert torch.equal(ByteDropout(0.5).eval()(inputs), inputs)
    state = torch.get_rng_state()
    assert torch.equal(ByteDropout(0.0)(inputs), inputs)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_gradient_goes_where_the_numbers_went_and_bf16_stays_bf16() -> None:
    torch.manual_seed(2)
    inputs = torch.ones(50, 3, dtype=torch.bfloat16, requires_grad=True)
    outputs = ByteDropout(0.25)(inputs)
    assert outputs.dtype == torch.bfloat16
    outputs.sum().backward()
    assert torch.equal(inputs.grad, outputs)


@pytest.mark.parametrize("probability", [-0.01, 1.0, 0.999])
def test_impossible_probabilities_are_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="dropout probability"):
        ByteDropout(probability)
