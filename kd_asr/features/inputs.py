"""The interface of inputs that are gathered by number."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Indexable(Protocol):
    """Inputs gathered by example number: `inputs[(batch,) int64]` gives (batch, ...) float32."""

    def __len__(self) -> int: ...

    def __getitem__(self, examples: Tensor, /) -> Tensor: ...
