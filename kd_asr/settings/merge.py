"""Merging of settings in plain form: a file into the defaults, flags into both.

Mappings merge. Lists are replaced whole. A named thing replaces another one but merges with one of its own name, also
as an entry of a list: `[hinton, decoupled]` over `[{hinton: {losses: ...}}]` keeps those losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_asr.errors import UserError
from kd_asr.registry import find
from kd_asr.settings.fields import Setting, defaults, known_names, name_of, named_entry, settings_of, unknown
from kd_asr.settings.yaml_text import Marked, YamlError, read_yaml


def merge_section(cls: type, base: Any, over: Any) -> Any:
    """A section in plain form, with another one merged into it; anything but a section replaces it."""
    if not isinstance(over, Mapping) or not isinstance(base, Mapping):
        return over
    known, below = settings_of(cls), {**defaults(cls), **base}
    result, over = Marked(base), Marked(over)
    for key, value in over.items():
        result[key] = merge(known[key], below[key], value) if key in known and key in below else value
    result.lines |= over.lines
    return result


def merge(setting: Setting, base: Any, over: Any) -> Any:
    """A field's value in plain form, with another one merged into it."""
    if setting.shape == "section":
        return merge_section(setting.type, base, over)
    if setting.shape == "named":
        return _merge_named(setting.kind, base, over)
    if setting.shape == "named_list" and isinstance(base, list) and isinstance(over, list):
        return [_merge_listed(setting.kind, base, one) for one in over]
    return over


def _merge_listed(kind: str, base: list[Any], over: Any) -> Any:
    """An entry of a list of named things over the only one of its name in the list below, if there is one."""
    above = named_entry(over)
    if above is None:
        return over
    alike = [one for one in base if (entry := named_entry(one)) is not None and name_of(entry) == name_of(above)]
    return _merge_named(kind, alike[0], over) if len(alike) == 1 else over


def _merge_named(kind: str, base: Any, over: Any) -> Any:
    below, above = named_entry(base), named_entry(over)
    if below is None or above is None or name_of(below) != name_of(above):
        return over
    name = name_of(above)
    try:
        cls = find(kind, name).Settings
    except UserError:
        return over  # said when it is built
    above[name] = merge_section(cls, below[name], above[name])
    return above


class _Refused(Exception):
    """A flag that cannot be merged into the settings; the message says why."""


def with_flags(cls: type, content: Any, flags: Sequence[str]) -> tuple[Any, list[str]]:
    """Settings in plain form with flags merged into them, and sentences about flags that could not be merged.

    Args:
        cls: dataclass of the settings.
        content: settings that the flags override, in plain form.
        flags: `--section.key VALUE` or `--section.key=VALUE`. Text is taken as it stands, any other value is YAML.
    """
    problems: list[str] = []
    everything = known_names(cls)
    for flag, name, text in _split(flags, problems):
        try:
            content = _Flag(text, everything).section(cls, content, name.split("."))
        except (_Refused, YamlError) as error:
            problems.append(f"{flag}: {error}")
    return content, problems


def _split(flags: Sequence[str], problems: list[str]) -> Iterator[tuple[str, str, str]]:
    """Each flag as written, its dotted name and the text of its value."""
    remaining = list(flags)
    while remaining:
        flag = remaining.pop(0)
        name, equals, text = flag[2:].partition("=")
        if not flag.startswith("--") or not name:
            problems.append(f"{flag!r} is not a setting: write --section.key VALUE")
            continue
        if not equals:
            if not remaining or remaining[0].startswith("--"):
                problems.append(f"{flag} needs a value")
                continue
            text = remaining.pop(0)
        yield flag, name, text


@dataclass(frozen=True)
class _Flag:
    """Lays the value of one flag over settings; content of settings that is not what it should be is left as it is.

    Its methods take the class, setting or kind of what they change, its present content in plain form, the path from
    there to the value, and what stands before that path in the whole name. They give the new content.

    Attributes:
        text: The value as it was written.
        everything: Dotted names of all settings, for hints.
    """

    text: str
    everything: Sequence[str]

    def section(self, cls: type, content: Any, path: Sequence[str], prefix: str = "") -> Any:
        """A section with the value in it."""
        if not isinstance(content, Mapping):
            return content
        known, key, rest = settings_of(cls), path[0], path[1:]
        if key not in known or (rest and known[key].shape == "value"):
            raise _Refused(unknown(prefix + ".".join(path), [prefix + one for one in known], self.everything))
        setting, inner = known[key], f"{prefix}{key}."
        result = Marked(content)
        below = content[key] if key in content else defaults(cls).get(key)
        if not rest:
            result[key] = merge(setting, below, self.value(setting))
            if setting.shape != "section":
                result.set_by_flag(key)
        elif setting.shape == "section":
            below = defaults(setting.type) if below is None else below
            result[key] = self.section(setting.type, below, rest, inner)
        elif setting.shape == "named":
            result[key] = self.named(setting.kind, below, rest, inner)
        else:
            result[key] = self.listed(setting, below, rest, inner)
        return result

    def value(self, setting: Setting) -> Any:
        """The value in plain form."""
        if setting.shape == "value" and setting.text:
            return None if setting.optional and self.text in ("null", "~") else self.text
        return read_yaml(self.text, flag=True)

    def named(self, kind: str, content: Any, path: Sequence[str], prefix: str) -> Marked:
        """A named thing with the value in it; another name than the present one replaces it."""
        entry = named_entry(content)
        name, rest = _name_in_path(kind, path, [] if entry is None else [name_of(entry)])
        if entry is None or name not in entry:
            entry = Marked({name: Marked()}, flag=True)
        return self.entry(kind, entry, [name, *rest], prefix)

    def listed(self, setting: Setting, content: Any, path: Sequence[str], prefix: str) -> Any:
        """A list of named things with the value in the one of them that the path names."""
        if not isinstance(content, list):
            return content
        weighted = setting.shape == "weighted_list"
        entries = [named_entry(one, weighted=weighted) for one in content]
        there = ["" if entry is None else name_of(entry) for entry in entries]
        name, rest = _name_in_path(setting.kind, path, there)
        whole = prefix.removesuffix(".")
        if name not in there:
            raise _Refused(f"there is no {name!r} in {whole}, which has {', '.join(there) or 'nothing'}")
        if there.count(name) > 1:
            raise _Refused(f"{whole} has {name!r} more than once: give the whole list as --{whole}")
        index = there.index(name)
        entry = entries[index] or Marked()
        if weighted and list(rest) == ["weight"]:
            entry["weight"] = read_yaml(self.text, flag=True)
            entry.set_by_flag("weight")
        else:
            entry = self.entry(setting.kind, entry, [name, *rest], prefix)
        return [*content[:index], entry, *content[index + 1 :]]

    def entry(self, kind: str, entry: Marked, path: Sequence[str], prefix: str) -> Marked:
        """`{name: settings}` with the value in the settings; the path begins with the name."""
        name, *rest = path
        try:
            cls = find(kind, name).Settings
        except UserError as error:
            raise _Refused(str(error)) from error
        if rest:
            entry[name] = self.section(cls, entry[name], rest, f"{prefix}{name}.")
        else:
            entry[name] = merge_section(cls, entry[name], read_yaml(self.text, flag=True))
        return entry


def _name_in_path(kind: str, path: Sequence[str], there: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Name at the beginning of a path, and what follows it; an import path, `package.module:Class`, has dots itself."""
    for end in range(1, len(path) + 1):
        name = ".".join(path[:end])
        if name in there or (end == 1 and ":" not in name and _is_known(kind, name)) or ":" in path[end - 1]:
            return name, path[end:]
    return path[0], path[1:]


def _is_known(kind: str, name: str) -> bool:
    try:
        find(kind, name)
    except UserError:
        return False
    return True
