"""Fields of a dataclass of settings, and the plain form of their values.

In plain form, which is that of YAML, a section is a mapping, a tuple a list, a named thing `{name: {key: value}}` or
its bare name, and a weighted loss such a mapping with `weight` beside the name.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from kd_asr.nearest import did_you_mean
from kd_asr.registry import Named, Weighted
from kd_asr.settings.ranges import OfKind
from kd_asr.settings.yaml_text import Marked

Marker = TypeVar("Marker")
_SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class Setting:
    """One field of a dataclass of settings.

    Attributes:
        name: Name of the field.
        shape: `value`: a scalar or a tuple of scalars; `section`: a dataclass; `named`: a `Named`; `named_list` and
            `weighted_list`: a tuple of `Named` or of `Weighted`.
        type: Type without None and without the field's own markers (a tuple's element type keeps its markers).
        optional: Whether None is a value.
        markers: Markers that `Annotated` adds to the type.
        default: Default value, or `dataclasses.MISSING`.
    """

    name: str
    shape: Literal["value", "section", "named", "named_list", "weighted_list"]
    type: Any
    optional: bool
    markers: tuple[Any, ...]
    default: Any

    def marker(self, kind: type[Marker]) -> Marker | None:
        """The field's marker of a given class, if any."""
        return next((one for one in self.markers if isinstance(one, kind)), None)

    @property
    def kind(self) -> str:
        """Kind of the named things that the field holds."""
        if self.shape == "weighted_list":
            return settings_of(Weighted)["loss"].kind
        mark = self.marker(OfKind)
        if mark is None:
            raise TypeError(f"the setting {self.name} holds named things and needs the marker OfKind")
        return mark.kind

    @property
    def text(self) -> bool:
        """Whether every value is text."""
        if typing.get_origin(self.type) is Literal:
            return all(isinstance(choice, str) for choice in typing.get_args(self.type))
        return self.type is str


@cache
def settings_of(cls: type) -> dict[str, Setting]:
    """Fields of a dataclass of settings, in order.

    Raises:
        TypeError: a field has a type that settings cannot have.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    return {item.name: _setting(cls, item, hints[item.name]) for item in dataclasses.fields(cls)}


def _setting(cls: type, item: dataclasses.Field[Any], hint: Any) -> Setting:
    inner, markers = _unannotated(hint)
    optional = False
    if typing.get_origin(inner) in (typing.Union, types.UnionType):
        others = [one for one in typing.get_args(inner) if one is not type(None)]
        optional = len(others) < len(typing.get_args(inner))
        inner, more = _unannotated(others[0] if len(others) == 1 else None)
        markers = (*markers, *more)
    shape: Literal["value", "section", "named", "named_list", "weighted_list"] = "value"
    element, of_element = _element(inner)
    if inner is Named:
        shape = "named"
    elif element is Named:
        shape, markers = "named_list", (*markers, *of_element)
    elif element is Weighted:
        shape = "weighted_list"
    elif dataclasses.is_dataclass(inner):
        shape = "section"
    elif not _is_scalar(inner if element is None else element):
        raise TypeError(f"{cls.__name__}.{item.name}: settings cannot be of type {hint}")
    factory = item.default_factory
    default = item.default if factory is dataclasses.MISSING else factory()
    return Setting(item.name, shape, inner, optional, markers, default)


def _unannotated(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if typing.get_origin(hint) is Annotated:
        inner, *markers = typing.get_args(hint)
        return inner, tuple(markers)
    return hint, ()


def _element(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Element type of `tuple[element, ...]` and its markers; None for anything else."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _unannotated(arguments[0])
    return None, ()


def _is_scalar(hint: Any) -> bool:
    return hint in _SCALARS or typing.get_origin(hint) is Literal


def dump(value: Any) -> Any:
    """Plain form of a value of settings, with all of its fields."""
    if isinstance(value, Named):
        return {value.name: dump(value.settings)}
    if isinstance(value, Weighted):
        return {**dump(value.loss), "weight": value.weight}
    if dataclasses.is_dataclass(value):
        return {item.name: dump(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [dump(item) for item in value]
    return value


def defaults(cls: type) -> Marked:
    """Plain form of the fields' defaults; fields without a default are left out."""
    return Marked(
        (name, dump(setting.default))
        for name, setting in settings_of(cls).items()
        if setting.default is not dataclasses.MISSING
    )


def named_entry(content: Any, *, weighted: bool = False) -> Marked | None:
    """Plain form of a named thing as a mapping; None if it is not a named thing."""
    if isinstance(content, str):
        return Marked({content: Marked()})
    if isinstance(content, Mapping):
        keys = [key for key in content if not (weighted and key == "weight")]
        if len(keys) == 1 and isinstance(keys[0], str):
            return Marked(content)
    return None


def name_of(entry: Marked) -> str:
    """Name of the thing in a mapping of `named_entry`."""
    return next(str(key) for key in entry if key != "weight" or len(entry) == 1)


def known_names(cls: type, prefix: str = "") -> list[str]:
    """Dotted names of all fields of a section, of the sections in it, and of the things that it names by default."""
    found: list[str] = []
    for name, setting in settings_of(cls).items():
        found.append(prefix + name)
        if setting.shape == "section":
            found += known_names(setting.type, f"{prefix}{name}.")
        elif setting.shape != "value" and setting.default is not dataclasses.MISSING:
            named = setting.default if isinstance(setting.default, tuple) else (setting.default,)
            for one in (item.loss if isinstance(item, Weighted) else item for item in named):
                if isinstance(one, Named):
                    found += known_names(type(one.settings), f"{prefix}{name}.{one.name}.")
    return found


def unknown(name: str, siblings: Iterable[str], everything: Iterable[str]) -> str:
    """Sentence about an unknown dotted name, with the nearest known one."""
    here, anywhere = list(siblings), list(everything)
    hint = did_you_mean(name, [*here, *anywhere])
    there = f"; there are: {', '.join(here)}" if here and not hint else ""
    return f"unknown setting {name!r}{hint}{there}"
