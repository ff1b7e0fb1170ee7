"""The settings as `--help` lists them: name, type, sentence, unit, range, default."""

from __future__ import annotations

import dataclasses
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import docstring_parser
from annotated_types import MinLen

from kd_asr.registry import FOLDERS, Named, Weighted, find, names
from kd_asr.settings.build import shown
from kd_asr.settings.fields import Setting, dump, settings_of
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, Unit

_TYPES = {int: "INT", float: "NUMBER", bool: "true|false", str: "TEXT"}

# Columns of a terminal.
WIDTH = 80


@dataclass(frozen=True)
class Entry:
    """One setting in the list.

    Attributes:
        name: Dotted name.
        type: Form of a value.
        sentence: Sentence from the docstring of its class; empty if it has none.
        facts: Unit, range and default.
    """

    name: str
    type: str
    sentence: str
    facts: str


@cache
def sentences(cls: type) -> dict[str, str]:
    """The sentence of each attribute, from the docstrings of a class and of its bases."""
    found: dict[str, str] = {}
    for one in cls.__mro__:
        for item in docstring_parser.parse(one.__doc__ or "").params:
            if item.args[0] == "attribute":
                found.setdefault(item.arg_name, " ".join((item.description or "").split()))
    return found


def entries(cls: type, prefix: str = "", values: Any = None) -> Iterator[Entry]:
    """Every setting of a class and of its sections; values of the instance `values` are shown as the defaults."""
    for name, setting in settings_of(cls).items():
        default = setting.default if values is None else getattr(values, name)
        if setting.shape == "section":
            yield from entries(setting.type, f"{prefix}{name}.", None if default is dataclasses.MISSING else default)
        else:
            yield Entry(prefix + name, _type(setting), sentences(cls).get(name, ""), _facts(setting, default))


def kinds_in(cls: type) -> list[str]:
    """Kinds of named things that settings may hold, directly or in the settings of such a thing."""
    found: list[str] = []
    waiting = [cls]
    while waiting:
        for setting in settings_of(waiting.pop(0)).values():
            if setting.shape == "section":
                waiting.append(setting.type)
            elif setting.shape != "value" and setting.kind not in found:
                found.append(setting.kind)
                waiting += [find(setting.kind, name).Settings for name in names(setting.kind)]
    return [kind for kind in FOLDERS if kind in found]


def help_text(cls: type) -> str:
    """Help on all settings of a class, and on those of everything that they can name."""
    parts = [_written(entry, "--") for entry in entries(cls)]
    for kind in kinds_in(cls):
        parts.append(f"\nEach {kind.upper()}; its settings follow its name, as in --SETTING.NAME.KEY VALUE:\n")
        for name in names(kind):
            found = find(kind, name)
            said = f"{name}: {_summary(found.Settings)}"
            parts.append(textwrap.fill(said, WIDTH, initial_indent="  ", subsequent_indent="    "))
            parts += [_written(entry, "  .") for entry in entries(found.Settings, f"{name}.")]
    return "\n".join(parts)


def _summary(cls: type) -> str:
    """First paragraph of a docstring, on one line."""
    return " ".join((cls.__doc__ or "").strip().partition("\n\n")[0].split())


def _written(entry: Entry, dashes: str) -> str:
    text = " ".join(part for part in (entry.sentence, f"({entry.facts})" if entry.facts else "") if part)
    body = textwrap.fill(text, WIDTH, initial_indent="      ", subsequent_indent="      ")
    return f"  {dashes}{entry.name} {entry.type}\n{body}"


def _type(setting: Setting) -> str:
    if setting.shape == "named":
        return setting.kind.upper()
    if setting.shape == "named_list":
        return f"[{setting.kind.upper()}, ...]"
    if setting.shape == "weighted_list":
        return f"[{{{setting.kind.upper()}: {{...}}, weight: NUMBER}}, ...]"
    return _of_value(setting.type) + ("|null" if setting.optional else "")


def _of_value(hint: Any) -> str:
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is tuple:
        return f"[{_of_value(typing.get_args(hint)[0])}, ...]"
    if typing.get_origin(hint) is typing.Literal:
        return "|".join(map(str, typing.get_args(hint)))
    return _TYPES[hint]


def _facts(setting: Setting, default: Any) -> str:
    markers = setting.markers
    if typing.get_origin(setting.type) is tuple:
        element = typing.get_args(setting.type)[0]
        markers += typing.get_args(element)[1:] if typing.get_origin(element) is Annotated else ()
    facts = [str(one.unit) for one in markers if isinstance(one, Unit)]
    facts += [words for one in markers if (words := _range(one))]
    if default is not dataclasses.MISSING:
        facts.append(f"default: {_default(default)}")
    return ", ".join(facts)


def _range(marker: object) -> str:
    if isinstance(marker, Above):
        return f"above {marker.gt}"
    if isinstance(marker, AtLeast):
        return f"at least {marker.ge}"
    if isinstance(marker, Below):
        return f"below {marker.lt}"
    if isinstance(marker, AtMost):
        return f"at most {marker.le}"
    return "not empty" if isinstance(marker, MinLen) else ""


def _default(value: Any) -> str:
    """A default as a flag would give it; named things by their names alone."""
    if isinstance(value, Named):
        return value.name
    if isinstance(value, Weighted):
        return f"{{{value.loss.name}: {{...}}, weight: {value.weight:g}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_default, value))}]"
    if isinstance(value, str):
        return value or "empty"
    return shown(dump(value))
