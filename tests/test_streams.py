"""Trainings side by side draw what each would draw alone."""

import torch

from kd_asr.device import HOST
from kd_asr.networks.dropout import ByteDropout
from kd_asr.streams import Stream, drawing, drawing_as_one, generator_of, generators


def test_a_stream_goes_on_where_it_was_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = [torch.rand(3), torch.rand(3)]
    torch.manual_seed(99)
    before = torch.get_rng_state()
    stream, other = Stream(HOST, 5), Stream(HOST, 6)
    found = []
    for _ in range(2):
        with drawing(stream):
            found.append(torch.rand(3))
            assert generator_of(found[0]) is None  # on the host the global generator itself is the stream's
        with drawing(other):
            torch.rand(7)
    assert all(torch.equal(one, same) for one, same in zip(found, expected, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stream_goes_on_from_a_checkpoint() -> None:
    stream = Stream(HOST, 5)
    with drawing(stream):
        torch.rand(3)
    states = stream.random_state()
    with drawing(stream):
        expected = torch.rand(3)
    resumed = Stream(HOST, 77)
    resumed.set_random_state(states, otherwise=0)
    with drawing(resumed):
        assert torch.equal(torch.rand(3), expected)


def test_every_network_of_a_stack_drops_what_it_would_drop_alone() -> None:
    """Also behind another axis order, and a stack of one."""
    layer, inputs = ByteDropout(0.4), torch.randn(2, 50, 3)
    for count, axis in ((2, 0), (1, 0), (3, 2)):
        alone = []
        for number in range(count):
            torch.manual_seed(number)
            alone.append(layer(inputs.select(axis, number)))
        streams = [Stream(HOST, number) for number in range(count)]
        with drawing_as_one(streams):
            assert len(generators()) == count
            seen = inputs.narrow(axis, 0, count)
            together = torch.func.vmap(layer, in_dims=axis, randomness="different")(seen)
        assert generators() == ()
        assert torch.equal(together, torch.stack(alone))
