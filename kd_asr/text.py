"""Names and words of the user's in the formats of what is written: whatever they hold, they stay what they are."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What would end a field or a line or move the cursor, or cannot be encoded.
_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_IN_MARKDOWN = re.compile(r"([\\`*\[\]<>|~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def shown(name: object) -> str:
    """A name of a file or an utterance on one line of a terminal: what cannot be printed is escaped."""
    return "".join(one if one.isprintable() else _escaped(one) for one in str(name))


def table_line(cells: Iterable[object]) -> str:
    """A line of a tab-separated table; what would end a cell is escaped, so it has as many fields as cells."""
    return "\t".join(_BREAKING.sub(lambda found: _escaped(found[0]), str(cell)) for cell in cells) + "\n"


def in_markdown(text: object) -> str:
    """Text that Markdown, and the HTML in it, shows as it is; in a table, too."""
    plain = _BREAKING.sub(lambda found: " " if found[0] in "\t\n\r" else _escaped(found[0]), str(text))
    return _IN_MARKDOWN.sub(lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", plain)


def as_code(text: object) -> str:
    """Text as code in Markdown, whatever backticks it holds."""
    plain = " ".join(_BREAKING.sub(lambda found: _escaped(found[0]), str(text)).split(" "))
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{ticks}{pad}{plain}{pad}{ticks}" if plain else ""


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
