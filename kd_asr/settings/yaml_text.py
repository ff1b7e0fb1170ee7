"""YAML that means what it looks like, with the line of every key.

The core schema of YAML 1.2, without the surprises of 1.1: `1e-3` is a number, `no`, `1:30` and `2020-01-01` are text,
`010` is refused instead of being 8, and a key given twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_PLAIN = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(r"[-+]?[0-9]+"), list("-+0123456789")),
    (
        "float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        list("-+.0123456789"),
    ),
)
_FLAG = 0  # the "line" of what a flag has set
_MAX_DIGITS = 19


class Marked(dict[Any, Any]):
    """A mapping that knows the line of a file for each of its keys; 0 for keys that a flag has set."""

    def __init__(self, content: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = (), *, flag: bool = False) -> None:
        super().__init__(content)
        self.lines: dict[Any, int] = dict(content.lines) if isinstance(content, Marked) else {}
        if flag:
            self.lines = dict.fromkeys(self, _FLAG)

    def set_by_flag(self, key: str) -> None:
        """Record that the value of `key` comes from a flag."""
        self.lines[key] = _FLAG


def line_of(content: Any, path: Iterable[str | int]) -> int | None:
    """Line of the file with a value, or else with the mapping around it; None if it does not come from the file."""
    line: int | None = None
    for key in path:
        if isinstance(content, Marked):
            line = content.lines.get(key, line)
        try:
            content = content[key]
        except (LookupError, TypeError):
            break
    return line or None


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own class attribute, emptied


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - so that text that looks like a number is quoted


for _name, _pattern, _first in _PLAIN:
    _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
    _Loader.add_implicit_resolver(_TAG + _name, _whole, _first)
    _Dumper.add_implicit_resolver(_TAG + _name, _whole, _first)


class YamlError(ValueError):
    """Text that is not the YAML of settings; the message is one line."""


def read_yaml(text: str, *, flag: bool = False) -> Any:
    """Plain values, lists and `Marked` mappings of a YAML document; None for an empty one.

    Args:
        text: the document.
        flag: whether the document is the value of a flag, so that lines do not matter.

    Raises:
        YamlError: the text is not YAML, or nested too deeply, a key is doubled, a number has a leading zero or more
            than 19 digits, or a tag is none of the core schema.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _plain(node, flag, {})
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise YamlError("nested too deeply") from error


def _plain(node: yaml.Node, flag: bool, seen: dict[int, Any]) -> Any:
    """Value of a node; a value that an alias repeats is made once."""
    if id(node) not in seen:
        if isinstance(node, yaml.ScalarNode):
            seen[id(node)] = _scalar(node)
        elif isinstance(node, yaml.MappingNode):
            seen[id(node)] = _mapping(node, flag, seen)
        else:
            seen[id(node)] = [_plain(item, flag, seen) for item in node.value]
    return seen[id(node)]


def _mapping(node: yaml.MappingNode, flag: bool, seen: dict[int, Any]) -> Marked:
    result = Marked()
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise YamlError(f"line {_line(key_node)}: a key must be a word")
        key = _scalar(key_node)
        if key in result:
            raise YamlError(f"line {_line(key_node)}: {key!r} is there twice")
        result[key] = _plain(value_node, flag, seen)
        result.lines[key] = _FLAG if flag else _line(key_node)
    return result


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _scalar(node: yaml.ScalarNode) -> str | bool | int | float | None:
    name, text = node.tag.removeprefix(_TAG), str(node.value)
    pattern = next((pattern for known, pattern, _ in _PLAIN if known == name), None)
    if name == "str":
        return text
    if pattern is None or not pattern.fullmatch(text):
        raise YamlError(f"line {_line(node)}: the tag {node.tag} does not suit {text!r} in settings")
    if name == "null":
        return None
    if name == "bool":
        return text.lower() == "true"
    if name == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    digits = text.lstrip("-+")
    if len(digits) > 1 and digits[0] == "0":
        raise YamlError(
            f"line {_line(node)}: {text} begins with 0: write {digits.lstrip('0') or 0}, or '{text}' for text"
        )
    if len(digits) > _MAX_DIGITS:
        raise YamlError(f"line {_line(node)}: a whole number of {len(digits)} digits is too large")
    return int(text)


def write_yaml(content: Any) -> str:
    """YAML that `read_yaml` reads back unchanged."""
    # Escaped, since PyYAML writes Unicode line breaks such as U+0085 unescaped and reads them as spaces.
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=False)
