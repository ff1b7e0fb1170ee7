"""Interfaces of what is gathered by number, and several such things as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor


class Indexable(Protocol):
    """Inputs gathered by example number: `inputs[(batch,) int64]` gives (batch, ...) float32."""

    def __len__(self) -> int: ...

    def __getitem__(self, examples: Tensor, /) -> Tensor: ...


class Rows(Protocol):
    """Numbers gathered by row, `rows[(batch,) int64]`: a tensor, or what is computed when it is asked for."""

    @property
    def shape(self) -> Sequence[int]:
        """Rows, and the shape of each."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


def all_rows(rows: Rows) -> Tensor:
    """All of them, as a tensor."""
    return rows[torch.arange(len(rows))]


@dataclass(frozen=True)
class JoinedRows:
    """The rows of several parts as one, those of the first part first.

    Attributes:
        parts: Each with rows of the same shape.
        added: Number that is added to each part's.
    """

    parts: tuple[Rows, ...]
    added: tuple[int, ...]

    @property
    def shape(self) -> Sequence[int]:
        """Rows, and the shape of each."""
        return (len(self), *self.parts[0].shape[1:])

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, rows: Tensor) -> Tensor:
        # Of each part as many as are asked for: how many of them are its own would have to be counted.
        found: Tensor | None = None
        for part, added, end in zip(self.parts, self.added, accumulate(map(len, self.parts)), strict=True):
            first = end - len(part)
            if len(part):
                own = part[(rows - first).clamp(0, len(part) - 1)]
                own = own + added if added else own
                before = (rows < first).view(-1, *(1,) * (own.ndim - 1))
                found = own if found is None else torch.where(before, found, own)
        return self.parts[0][rows] if found is None else found


def joined_rows(parts: Sequence[Rows], added: Sequence[int] | None = None) -> Rows:
    """The rows of several parts as one, with a number added to each part's; a single part is that itself."""
    given = tuple(added) if added is not None else (0,) * len(parts)
    return parts[0] if len(parts) == 1 and not given[0] else JoinedRows(tuple(parts), given)
