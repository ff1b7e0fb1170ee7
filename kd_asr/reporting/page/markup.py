"""HTML from values: whatever names and words hold, they stay text."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from kd_asr.reporting.tables import Table

_EMPTY = frozenset({"img", "input", "link", "meta", "br"})
# What could end a script or begin markup in it; JSON has the same characters as escapes.
_IN_SCRIPT = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: object) -> Html:
    """An element. Children that are not `Html` are escaped, and so are the values of attributes.

    Args:
        tag: name.
        children: in order.
        attributes: `class_` and `for_` without the `_`, `aria_label` and `data_name` with hyphens; True: without a
            value; None or False: left out.
    """
    parts = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        written = name.rstrip("_").replace("_", "-")
        parts.append(written if value is True else f'{written}="{html.escape(_plain(value))}"')
    inside = "".join(child if isinstance(child, Html) else html.escape(_plain(child)) for child in children)
    opened = f"<{' '.join(parts)}>"
    return Html(opened if tag in _EMPTY else f"{opened}{inside}</{tag}>")


def _plain(value: object) -> str:
    """Text that a file in UTF-8 can hold: bytes of file names that are none are shown as escapes."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def joined(parts: Sequence[Html]) -> Html:
    """Several parts, one a line."""
    return Html("\n".join(parts))


def as_json(value: Any) -> str:
    """JSON that can stand in a script element or in a script."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).translate(_IN_SCRIPT)


def table_element(table: Table, caption: str) -> Html:
    """A table in a frame that scrolls sideways where it is too wide."""
    head = element("tr", *(element("th", column, scope="col") for column in table.columns))
    rows = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in table.rows
    ]
    made = element(
        "table", element("caption", caption), element("thead", head), element("tbody", joined(rows)), class_="figures"
    )
    return element("div", made, class_="wide", tabindex=0, role="region", aria_label=caption)
