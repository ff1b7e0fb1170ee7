"""Every setting of a section, and settings with another value in one place."""

import dataclasses
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from typing import Any

from kd_asr.registry import Named
from kd_asr.tasks.labelled_subset import LabelledSubset


def other(value: Any) -> Any:
    """Another value of a setting, in its range or not: planning does not check it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value, 9)
    if is_dataclass(value):
        path, _ = next(leaves(value))
        return changed(value, path)
    return LabelledSubset(0.5, 1) if value is None else value


def leaves(settings: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting, by its path of fields; of named things their settings."""
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if (isinstance(settings, Named) and item.name != "settings") or (item.name == "network" and value is None):
            continue  # teacher.network and student.network are tested below
        if is_dataclass(value):
            yield from leaves(value, (*path, item.name))
        elif isinstance(value, tuple) and value and all(is_dataclass(one) for one in value):
            for index, one in enumerate(value):
                yield from leaves(one, (*path, item.name, str(index)))
        else:
            yield (*path, item.name), value


def changed(settings: Any, path: tuple[str, ...]) -> Any:
    """Settings with another value at a path."""
    name, *below = path
    if isinstance(settings, tuple):
        index = int(name)
        return (*settings[:index], changed(settings[index], tuple(below)), *settings[index + 1 :])
    value = getattr(settings, name)
    if below:
        return replace(settings, **{name: changed(value, tuple(below))})
    return replace(settings, **{name: 0.25 if value is None else other(value)})
