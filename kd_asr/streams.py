"""Random numbers of several trainings in one process: each draws what it would draw alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from kd_asr.device import HOST, Device


class Stream:
    """The random numbers of one training beside others in this process: those it would draw if it were alone."""

    def __init__(self, device: Device, seed: int) -> None:
        """Begin as `device.seed(seed)` does."""
        self._kind = device.kind
        self.host = torch.Generator().manual_seed(seed)
        self.own = self.host
        if device.kind != HOST.kind:
            self.own = torch.Generator(device.torch_device).manual_seed(seed)

    def random_state(self) -> dict[str, Tensor]:
        """As `Device.random_state`."""
        return {HOST.kind: self.host.get_state(), self._kind: self.own.get_state()}

    def set_random_state(self, states: Mapping[str, Tensor], *, otherwise: int) -> None:
        """As `Device.set_random_state`."""
        if self._kind in states:
            self.own.set_state(states[self._kind])
        else:
            self.own.manual_seed(otherwise)
        self.host.set_state(states[HOST.kind])


# Whose random numbers are drawn now: a training's, or those of several that are trained as one, each its own. None and
# empty: torch's global generators are in use.
_drawing: Stream | None = None
_as_one: tuple[Stream, ...] = ()


@contextmanager
def drawing(stream: Stream) -> Iterator[None]:
    """Inside, random numbers are those of a training: also what torch's global generator of the host gives."""
    global _drawing  # noqa: PLW0603 - as torch's generators, one per process
    outside, _drawing = _drawing, stream
    before = torch.get_rng_state()
    torch.set_rng_state(stream.host.get_state())
    try:
        yield
    finally:
        stream.host.set_state(torch.get_rng_state())
        torch.set_rng_state(before)
        _drawing = outside


@contextmanager
def drawing_as_one(streams: Sequence[Stream]) -> Iterator[None]:
    """Inside, layers that draw for several networks at once take each network's numbers from its own stream."""
    global _as_one  # noqa: PLW0603
    outside, _as_one = _as_one, tuple(streams)
    try:
        yield
    finally:
        _as_one = outside


def generators() -> tuple[torch.Generator, ...]:
    """Generators of the networks inside `drawing_as_one`, one each; none outside."""
    return tuple(stream.own for stream in _as_one)


def generator_of(where: Tensor) -> torch.Generator | None:
    """What draws random numbers beside a tensor; None: torch's global generator of the tensor's device."""
    if _drawing is None or where.device.type == HOST.kind:
        return None
    return _drawing.own if _drawing.own.device.type == where.device.type else None
