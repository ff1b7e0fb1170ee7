"""Networks with a share of the parameters of another one."""

from __future__ import annotations

from dataclasses import replace

import torch

from kd_asr.networks.base import count_parameters, network_class
from kd_asr.registry import Named

# The setting that makes a network smaller.
WIDTH = "hidden_units"
# The setting with the network inside another one.
BODY = "body"
# Wide networks stay multiples of this, in which processors and cards are fastest.
_STEP = 8
_WIDE = 128


def of_size(network: Named, share: float, input_shape: tuple[int, ...], num_classes: int) -> Named:
    """A network with fewer hidden units, whose parameters come nearest to a share of those of `network`.

    Args:
        network: its settings, or those of its body, have `hidden_units`, unless the share is 1.
        share: of the parameters, above 0 and at most 1.
        input_shape: shape of an input.
        num_classes: number of outputs.
    """
    if share == 1:
        return network
    full = _width(network)
    step = _STEP if full % _STEP == 0 and full >= _WIDE else 1
    wanted = share * _parameters(network, full, input_shape, num_classes)
    low, high = 1, full // step  # in steps
    while high - low > 1:
        middle = (low + high) // 2
        if _parameters(network, middle * step, input_shape, num_classes) <= wanted:
            low = middle
        else:
            high = middle
    units = min(
        (low * step, high * step),
        key=lambda width: abs(_parameters(network, width, input_shape, num_classes) - wanted),
    )
    return _with(network, units)


def _width(network: Named) -> int:
    body = getattr(network.settings, BODY, None)
    return _width(body) if body is not None else int(getattr(network.settings, WIDTH))


def _with(network: Named, units: int) -> Named:
    body = getattr(network.settings, BODY, None)
    changed = {WIDTH: units} if body is None else {BODY: _with(body, units)}
    return replace(network, settings=replace(network.settings, **changed))


def _parameters(network: Named, units: int, input_shape: tuple[int, ...], num_classes: int) -> int:
    """Parameters of a network with so many hidden units, none of which is made."""
    with torch.device("meta"):
        made = network_class(network.name)(input_shape, num_classes, _with(network, units).settings)
    return count_parameters(made)
