"""Networks as one: what each gives alone, and what cannot be made one."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from kd_asr.device import HOST
from kd_asr.errors import UserError
from kd_asr.networks.base import Network, network_class, seeded, view_of
from kd_asr.networks.stack import Stack
from kd_asr.registry import Named, named, names

BINS, CLASSES, BATCH = 8, 5, 6


def small(name: str) -> Named:
    settings = named("network", name).settings
    wanted = {"hidden_units": 12, "channels": 2, "dropout": 0.0, "chunk_frames": 4, "dilations": (1, 3)}
    if hasattr(settings, "body"):
        wanted["body"] = small(settings.body.name)
    return named("network", name, replace(settings, **{key: wanted[key] for key in wanted if hasattr(settings, key)}))


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", [name for name in names("network") if network_class(name).stacks])
def test_outputs_statistics_and_gradients_are_those_of_each(name: str, bf16: bool) -> None:
    network = small(name)
    view = view_of(network)
    shape = view.input_shape(BINS)
    torch.manual_seed(1)
    single = (sum(view.context) + 4, BINS) if len(shape) == 1 else (torch.Size(shape).numel(),)
    inputs = torch.randn(3, BATCH, *single)
    alone = [seeded(network, shape, CLASSES, seed) for seed in (1, 2, 3)]
    stack = Stack([copy.deepcopy(one) for one in alone])
    near = {"rtol": 3e-2, "atol": 3e-2} if bf16 else {"rtol": 1e-5, "atol": 1e-6}
    with HOST.matrix_precision(bf16=bf16):
        together, each = stack.train()(inputs), [one(own) for one, own in zip(alone, inputs, strict=True)]
    together = together.float()  # torch adds a stack's biases in float32
    together.square().sum().backward()
    torch.stack(each).float().square().sum().backward()
    assert torch.allclose(together, torch.stack(each).float(), **near)
    of_stack = dict(stack.stacked.named_parameters())
    for number, (one, other) in enumerate(zip(alone, stack.networks, strict=True)):
        for name_of, buffer in one.named_buffers():
            assert torch.allclose(buffer, other.get_buffer(name_of), **near), name_of
        if not bf16:
            for name_of, parameter in one.named_parameters():
                assert torch.allclose(parameter.grad, of_stack[name_of].grad[number], rtol=1e-4, atol=1e-5), name_of
    with torch.no_grad():
        # Made from the stack's statistics, in evaluation mode.
        apart = torch.stack([one.eval()(own) for one, own in zip(stack.networks, inputs, strict=True)])
        assert torch.allclose(stack.eval()(inputs), apart, rtol=1e-4, atol=1e-5)


def test_a_network_is_a_part_of_the_stack_until_it_is_taken_out() -> None:
    networks = [seeded(small("dnn"), (3, BINS), CLASSES, seed) for seed in (1, 2)]
    first = networks[0].output.weight.detach().clone()
    stack = Stack(networks)
    assert torch.equal(networks[0].output.weight, first)
    with torch.no_grad():
        stack.stacked.output.weight.add_(1.0)
    assert torch.equal(networks[0].output.weight, first + 1)
    networks[0].load_state_dict({**networks[0].state_dict(), "output.weight": first})
    assert torch.equal(stack.stacked.output.weight[0], first)
    stack.unstack()
    with torch.no_grad():
        stack.stacked.output.weight.zero_()
    assert torch.equal(networks[0].output.weight, first)
    assert networks[0].output.weight.untyped_storage().nbytes() == 4 * first.numel()


class Looks(Network):
    """Asks for a number."""

    def __init__(self) -> None:
        super().__init__((3,), 2, None)
        self.linear = nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.linear(inputs)
        return outputs * float(outputs.mean() > 0)


def test_what_cannot_be_made_one_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match=r"Looks cannot be trained several at once .*batch_jobs to never"):
        Stack([Looks(), Looks()])(torch.randn(2, 4, 3))
    network = seeded(small("dnn"), (3, BINS), CLASSES, 1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = None
    with pytest.raises(ValueError, match="momentum of None"):
        Stack([network])
