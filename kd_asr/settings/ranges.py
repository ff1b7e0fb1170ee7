"""Markers for the fields of settings, as in `epochs: Annotated[int, AtLeast(1), Unit("epochs")] = 4`.

The ranges are those of `annotated_types`, which pydantic checks, under names that read like the error messages. On the
element type of a tuple they apply to every element: `tuple[Annotated[float, Above(0)], ...]`.
"""

from __future__ import annotations

from dataclasses import dataclass

from annotated_types import Ge as AtLeast
from annotated_types import Gt as Above
from annotated_types import Le as AtMost
from annotated_types import Lt as Below
from annotated_types import MinLen, Unit

NotEmpty = MinLen(1)

__all__ = [
    "Above",
    "AbsentMeans",
    "AtLeast",
    "AtMost",
    "Below",
    "DecidesNothing",
    "Distinct",
    "Inherits",
    "NotEmpty",
    "OfKind",
    "Unit",
]


@dataclass(frozen=True)
class AbsentMeans:
    """The field is left out of fingerprints while it has this value, so that adding it changes no existing
    fingerprint."""

    value: object


@dataclass(frozen=True)
class DecidesNothing:
    """The field changes no result and is in no fingerprint."""


@dataclass(frozen=True)
class Distinct:
    """No value of the list is there twice."""


@dataclass(frozen=True)
class OfKind:
    """The kind (`network`, `loss`, ...) of the named thing, or things, that the field holds."""

    kind: str


@dataclass(frozen=True)
class Inherits:
    """The top-level field whose settings apply where this field names the same thing without settings."""

    field: str
