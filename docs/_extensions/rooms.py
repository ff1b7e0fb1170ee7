"""Pages of the API: a section for every module of a folder of the package, from its docstrings.

```{room} kd_asr.networks
```
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

_ROOM = re.compile(r"^```\{room\} (\S+)\n.*?^```$", flags=re.M | re.S)


def modules(name: str) -> list[str]:
    """Modules of a package and of the packages in it; of `kd_asr` itself, those that are in no package."""
    path = importlib.import_module(name).__path__
    found = pkgutil.walk_packages(path, f"{name}.") if "." in name else pkgutil.iter_modules(path, f"{name}.")
    return [module.name for module in found if not module.ispkg and not module.name.endswith("__main__")]


def _sections(match: re.Match[str]) -> str:
    """A section for each module, as Markdown."""
    return "\n".join(
        f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n" for name in modules(match[1])
    )


def _expand(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = _ROOM.sub(_sections, source[0])


def _escape(*arguments: Any) -> None:
    """Docstrings are plain text with code in single backticks, or in an indented block after a colon and an empty line:
    nothing else in them is markup."""
    lines: list[str] = arguments[-1]
    in_block = False
    for number, line in enumerate(lines):
        in_block = in_block and (not line or line.startswith(" "))
        if in_block:
            continue
        in_block = line.endswith(":") and [*lines, "", ""][number + 1] == "" and [*lines, "", ""][number + 2][:1] == " "
        parts = line.split("`")
        for index, part in enumerate(parts):
            parts[index] = part if index % 2 else re.sub(r"([*|\\]|_\b|_(?=\W|$))", r"\\\1", part)
        lines[number] = ("``".join(parts) if len(parts) % 2 else line) + ":" * in_block


def setup(app: Sphinx) -> ExtensionMetadata:
    """Expand rooms, and escape docstrings before napoleon reads their sections."""
    app.connect("source-read", _expand)
    app.connect("autodoc-process-docstring", _escape, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
