"""Tables of settings, made of the classes that are registered, so that no page repeats a default.

On a code host a page shows what stands inside the directive instead:

    ```{settings} method hinton
    kd-asr run speech --help    # lists the settings of every method
    ```
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from kd_asr.distillation.objectives import described
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.registry import FOLDERS, Weighted, find
from kd_asr.settings.fields import settings_of
from kd_asr.settings.help import entries
from kd_asr.stages.settings import Settings

RUNS = {"speech": Settings, "digits": MnistSettings}


def table(cls: type) -> Iterator[str]:
    """A Markdown table of all settings of a class, line by line."""
    yield "| setting | meaning | unit, range, default |"
    yield "|---|---|---|"
    for entry in entries(cls):
        value = entry.type.replace("|", r"\|")
        yield f"| `{entry.name}` `{value}` | {_escaped(entry.sentence)} | {_facts(cls, entry.name, entry.facts)} |"


def _facts(cls: type, name: str, facts: str) -> str:
    """Unit, range and default; default losses with their settings."""
    default = _default(cls, name)
    if isinstance(default, tuple) and default and all(isinstance(one, Weighted) for one in default):
        facts = facts.partition("default: ")[0] + f"default: {described(default)}"
    return _escaped(facts)


def _default(cls: type, name: str) -> Any:
    for part in name.split("."):
        setting = settings_of(cls).get(part)
        if setting is None:
            return None
        cls = setting.type
    return setting.default


def _escaped(text: str) -> str:
    """Text of a docstring inside a cell: it has code in backticks, but no other Markdown."""
    parts = text.split("`")
    for number, part in enumerate(parts):
        escapes = "|" if number % 2 else "|*_[]<>$\\"
        parts[number] = "".join("\\" + letter if letter in escapes else letter for letter in part)
    return "`".join(parts)


class SettingsDirective(SphinxDirective):
    """`{settings} KIND NAME` for a registered class, `{settings} speech` or `digits` for a whole run."""

    required_arguments = 1
    optional_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The table, or a sentence where there are no settings."""
        first, *others = self.arguments
        cls = find(first, others[0]).Settings if first in FOLDERS else RUNS[first]
        if not dataclasses.fields(cls):
            return self.parse_text_to_nodes("No settings.")
        found = self.parse_text_to_nodes("\n".join(table(cls)))
        for one in found:
            one["classes"].append("settings")
        return found


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive `settings`."""
    app.add_directive("settings", SettingsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
