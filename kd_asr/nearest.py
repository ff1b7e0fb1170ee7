"""The nearest known name for one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CLOSE = 0.62
# Names that are alike within so much are as near as each other: the first of them is meant.
_TIE = 0.05


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; do you mean 'quick'?`, or nothing if no known name is near; of dotted names the last part counts most."""
    near = nearest(name, known)
    return f"; do you mean {near!r}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like another one, if one is."""
    scored = [(_likeness(name, one), one) for one in known]
    best = max((score for score, _ in scored), default=0.0)
    return next(one for score, one in scored if score >= best - _TIE) if best > _CLOSE else None


def _likeness(one: str, other: str) -> float:
    """0 to 1; the dashes of options say nothing."""
    one, other = one.lstrip("-"), other.lstrip("-")
    whole = _ratio(one, other)
    if "." not in one + other:
        return whole
    return 0.3 * whole + 0.7 * _ratio(one.rpartition(".")[2], other.rpartition(".")[2])


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio()
