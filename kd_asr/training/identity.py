"""What a training is, as digests of its parts, so that a checkpoint is used only by the training that wrote it."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd_asr.device import HOST

# Of larger arrays, which may be files that are only mapped, evenly spread numbers stand for all.
_WHOLE_BYTES = 16 << 20
_SPREAD = 4096


def identity_of(**parts: object) -> dict[str, str]:
    """A digest of each part of a training, 16 hexadecimal digits, the same in every process.

    Values go in by their content: tensors, arrays, networks with their weights, settings, functions with their code and
    what they hold, any other object with its attributes.
    """
    return {name: _digest(value) for name, value in parts.items()}


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names of the parts in which two trainings differ."""
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def _digest(value: object) -> str:
    total = hashlib.blake2b(digest_size=8)
    for part in _content(value, ()):
        total.update(part)
    return total.hexdigest()


def _content(value: Any, around: tuple[int, ...]) -> Iterator[bytes]:
    """Bytes that tell a value from others; `around` are the ids of the values that hold it."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, Path)):
        yield f"{type(value).__name__} {value!r}\0".encode("utf-8", "surrogateescape")
        return
    if id(value) in around:
        yield b"itself\0"
        return
    inner: list[Any]
    if isinstance(value, (Tensor, np.ndarray)):
        yield f"{tuple(value.shape)} {value.dtype}\0".encode()
        yield _bytes(value)
        return
    if isinstance(value, nn.Module):
        # The parts of a module's own bookkeeping, such as hooks, say nothing more.
        inner = [str(value), dict(value.state_dict())]
    elif isinstance(value, Mapping):
        inner = [one for pair in value.items() for one in pair]
    elif isinstance(value, (list, tuple)):
        inner = list(value)
    elif isinstance(value, (set, frozenset)):
        inner = sorted(map(_digest, value))
    elif isinstance(value, partial):
        inner = [value.func, value.args, value.keywords]
    elif isinstance(value, types.MethodType):
        inner = [value.__func__, value.__self__]
    elif isinstance(value, types.FunctionType):
        held = [cell.cell_contents for cell in value.__closure__ or () if _is_set(cell)]
        constants = [one for one in value.__code__.co_consts if not isinstance(one, types.CodeType)]
        inner = [value.__qualname__, value.__code__.co_code, constants, value.__defaults__, held]
    elif isinstance(value, type):
        inner = [value.__module__, value.__qualname__]
    else:
        inner = [type(value), dict(getattr(value, "__dict__", {}))]
    yield f"{type(value).__name__} {len(inner)}\0".encode()
    for one in inner:
        yield from _content(one, (*around, id(value)))


def _bytes(values: Tensor | NDArray[Any]) -> bytes:
    """Bytes of an array, or of a part of it that is spread over the whole."""
    flat = values.detach().reshape(-1) if isinstance(values, Tensor) else values.reshape(-1)
    if len(flat) * flat.itemsize > _WHOLE_BYTES:
        flat = flat[:: max(1, len(flat) // _SPREAD)]
    if isinstance(flat, Tensor):
        return HOST.put(flat).contiguous().view(torch.uint8).numpy().tobytes()
    return flat.tobytes()


def _is_set(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True
