"""Frozen dataclasses of settings from their plain form; all errors are reported at once."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from kd_asr.errors import UserError
from kd_asr.registry import Named, Weighted, find, names
from kd_asr.settings.fields import Setting, defaults, dump, known_names, name_of, named_entry, settings_of, unknown
from kd_asr.settings.merge import merge, merge_section
from kd_asr.settings.ranges import Distinct, Inherits, NotEmpty
from kd_asr.settings.yaml_text import line_of


class SettingsClass(Protocol):
    """A frozen dataclass of settings.

    It may have a method `problems() -> list[str]` that checks its fields against each other. It is called when all
    fields are in their ranges; each of its sentences begins with a field: `retry_beam: 3.0 is less than beam, 4.0`.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]


AnySettings = TypeVar("AnySettings", bound=SettingsClass)
KeyPath = tuple[str | int, ...]

_FAILED: Any = object()
_LARGEST = 2**63 - 1
_SHOWN_CHARACTERS = 60
_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_BOUNDS = {
    "greater_than": ("gt", "is not above"),
    "greater_than_equal": ("ge", "is less than"),
    "less_than": ("lt", "is not below"),
    "less_than_equal": ("le", "is more than"),
}


def build(
    cls: type[AnySettings], content: Any, *, file: Path | None = None, wrong_flags: Sequence[str] = ()
) -> AnySettings:
    """Settings of a class from their plain form.

    Args:
        cls: frozen dataclass of the settings.
        content: mapping of keys to values; missing keys have their defaults.
        file: file of those values whose lines `content` knows.
        wrong_flags: sentences about flags that could not be merged into `content`.

    Raises:
        UserError: a key is unknown, a value has the wrong type or is out of range, or values contradict each other;
            names all errors at once.
    """
    builder = _Builder(cls, content)
    made = builder.section(cls, content, ())
    by_file = [(line_of(content, path), sentence) for path, sentence in builder.found] if file else []
    said = list(wrong_flags)
    said += [sentence for path, sentence in builder.found if not file or line_of(content, path) is None]
    in_file = [f"line {line}: {sentence}" for line, sentence in by_file if line is not None]
    if in_file:
        said.append(f"in {file}: {'; '.join(in_file)}")
    if said:
        raise UserError("settings that cannot work: " + "; ".join(said))
    result: AnySettings = made
    return result


def validate(settings: SettingsClass) -> None:
    """Check settings made in Python as strictly as those from a file.

    Raises:
        UserError: settings are wrong; names all errors at once.
    """
    build(type(settings), dump(settings))


class _Builder:
    """Builder of settings; `found` collects the path and a sentence of every problem."""

    def __init__(self, cls: type, whole: Any) -> None:
        self.found: list[tuple[KeyPath, str]] = []
        self.cls = cls
        self.whole = whole

    def section(self, cls: type, content: Any, path: KeyPath) -> Any:
        """An instance of a section, or `_FAILED`."""
        before = len(self.found)
        if not isinstance(content, Mapping):
            self.fail(path, f"{shown(content)} is not a section of `key: value` lines")
            return _FAILED
        known = settings_of(cls)
        prefix = f"{_dotted(path)}." if path else ""
        for key in content:
            if key not in known:
                here = [prefix + one for one in known]
                self.found.append(((*path, key), unknown(f"{prefix}{key}", here, known_names(self.cls))))
        values = {}
        for key, setting in known.items():
            if key in content:
                values[key] = self.value(setting, content[key], (*path, key))
            elif setting.default is dataclasses.MISSING:
                self.fail((*path, key), "is missing")
        if len(self.found) > before:
            return _FAILED
        made = cls(**values)
        for problem in getattr(made, "problems", list)():
            self.found.append(((*path, *problem.partition(":")[0].split(".")), prefix + problem))
        return made

    def value(self, setting: Setting, content: Any, path: KeyPath) -> Any:
        """Value of a field, or `_FAILED`."""
        if content is None and setting.optional:
            return None
        if setting.shape == "section":
            return self.section(setting.type, content, path)
        if setting.shape == "value":
            return self.plain(setting, content, path)
        if setting.shape == "named":
            inherits = setting.marker(Inherits)
            if inherits is not None and isinstance(self.whole, Mapping):
                content = merge(setting, self.whole.get(inherits.field), content)
            return self.named(setting.kind, content, path)
        if not isinstance(content, list):
            self.fail(path, f"{shown(content)} is not a list such as [NAME, {{NAME: {{key: value}}}}]")
            return _FAILED
        if not content and NotEmpty in setting.markers:
            self.fail(path, "is empty")
            return _FAILED
        make = self.weighted if setting.shape == "weighted_list" else self.named
        return tuple(make(setting.kind, one, (*path, index)) for index, one in enumerate(content))

    def named(self, kind: str, content: Any, path: KeyPath) -> Any:
        """A `Named`, or `_FAILED`."""
        entry = named_entry(content)
        if entry is None:
            self.fail(
                path, f"{shown(content)} does not name a {kind}: write {_a_name(kind)}, or {{NAME: {{key: value}}}}"
            )
            return _FAILED
        name = name_of(entry)
        try:
            cls = find(kind, name).Settings
        except UserError as error:
            self.fail(path, str(error))
            return _FAILED
        settings = self.section(cls, merge_section(cls, defaults(cls), entry[name]), (*path, name))
        return _FAILED if settings is _FAILED else Named(kind, name, settings)

    def weighted(self, kind: str, content: Any, path: KeyPath) -> Any:
        """A `Weighted`, or `_FAILED`."""
        entry = named_entry(content, weighted=True)
        if entry is None:
            self.fail(
                path, f"{shown(content)} does not name a {kind}: write {{{_a_name(kind)}: {{key: value}}, weight: 1}}"
            )
            return _FAILED
        setting = settings_of(Weighted)["weight"]
        name = name_of(entry)
        weight = self.plain(setting, entry.pop("weight", setting.default), (*path, name, "weight"))
        named = self.named(kind, entry, path)
        return _FAILED if _FAILED in (weight, named) else Weighted(named, weight)

    def plain(self, setting: Setting, content: Any, path: KeyPath) -> Any:
        """A scalar or a tuple of scalars, or `_FAILED`."""
        value = tuple(content) if isinstance(content, list) else content
        items = value if isinstance(value, tuple) else (value,)
        odd = [f"{shown(item)} {why}" for item in items if (why := _odd(item))]
        if not odd:
            try:
                made = _adapter(setting.type, setting.markers).validate_python(value)
                if setting.marker(Distinct) is None or len(set(made)) == len(made):
                    return made
                odd = [f"{shown(next(one for one in made if made.count(one) > 1))} is there twice"]
            except ValidationError as error:
                odd = [
                    _explain(setting.type, problem) for problem in error.errors(include_url=False) if _counts(problem)
                ]
        for sentence in odd:
            self.fail(path, sentence)
        return _FAILED

    def fail(self, path: KeyPath, sentence: str) -> None:
        """Record a problem with the value at a path."""
        self.found.append((path, f"{_dotted(path)}: {sentence}" if path else sentence))


@cache
def _adapter(hint: Any, markers: tuple[Any, ...]) -> TypeAdapter[Any]:
    annotated: Any = Annotated[(hint, *markers)] if markers else hint
    return TypeAdapter(annotated, config=ConfigDict(strict=True, allow_inf_nan=False))


def _odd(value: Any) -> str:
    """Reason why a scalar cannot be the value of any setting."""
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        return "is beyond 2^63"
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        return "is not text that a file can hold"
    return ""


def _counts(problem: Any) -> bool:
    """Whether to report a problem; not the empty tuple that pydantic finds after dropping all wrong elements."""
    return problem["type"] != "too_short" or not problem["input"]


def _explain(hint: Any, problem: Any) -> str:
    """Sentence for a problem found by pydantic."""
    kind, value = problem["type"], shown(problem["input"])
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = problem["ctx"][key]
        return f"{value} {words} {bound:g}" if isinstance(bound, float) else f"{value} {words} {bound}"
    if kind == "finite_number":
        return f"{value} is not a finite number"
    if kind in ("too_short", "string_too_short"):
        return "is empty"
    if problem["loc"]:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is typing.Literal:
        return f"{value} is not one of {', '.join(map(repr, typing.get_args(hint)))}"
    return f"{value} is not {_WORDS.get(hint, 'a list such as [1, 2]')}"


def _a_name(kind: str) -> str:
    return " | ".join(names(kind)) or "NAME"


def _dotted(path: KeyPath) -> str:
    """Dotted name of a value, without the numbers of list entries."""
    return ".".join(str(key) for key in path if not isinstance(key, int) or isinstance(key, bool))


def shown(value: Any, depth: int = 0) -> str:
    """A value in YAML, on one line, shortened if necessary."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, (list, tuple, Mapping)):
        pair = "{}" if isinstance(value, Mapping) else "[]"
        if depth == 2 and value:
            return f"{pair[0]}...{pair[1]}"
        items = list(value.items() if isinstance(value, Mapping) else value)
        texts = [
            f"{shown(one[0], 2)}: {shown(one[1], depth + 1)}" if isinstance(value, Mapping) else shown(one, depth + 1)
            for one in items[:3]
        ]
        return pair[0] + ", ".join(texts + ["..."] * (len(items) > 3)) + pair[1]
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
