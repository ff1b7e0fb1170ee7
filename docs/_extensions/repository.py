"""What pages say as a code host shows them, as the site needs it: links that leave docs/, and the site's contents.

`<!-- contents -->` stands for the pages that are linked from the first column of the page's tables, each table under
the caption of its first heading. So a page is listed once, where readers of the files find it too.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

# Pages outside docs/, and the site's pages of the same content.
PAGES = {"../README.md": "index.md", "../CONTRIBUTING.md": "contributing.md"}
_CONTENTS = "<!-- contents -->"
_TABLE = re.compile(r"^\| ?(.*?) ?\|.*\n\|[-|: ]+\n((?:\|.*\n)+)", flags=re.M)
_LINK = re.compile(r"\]\(([\w./-]+)\.(?:md|ipynb)\)")


def contents(text: str) -> str:
    """A hidden toctree for each table of a page; a page that is linked twice is in the first."""
    trees: list[str] = []
    listed: set[str] = set()
    for caption, rows in _TABLE.findall(text):
        found = [link for row in rows.splitlines() for link in _LINK.findall(row.split("|")[1])]
        links = [link for link in dict.fromkeys(found) if link not in listed]
        listed |= {*links}
        if links:
            head = [f":caption: {caption.capitalize()}"] if caption else []
            lines = ["```{toctree}", ":hidden:", *head, "", *links, "```"]
            trees.append("\n".join(lines))
    return "\n\n".join(trees)


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    up = "../" * docname.count("/")
    for outside, inside in PAGES.items():
        source[0] = source[0].replace(f"]({up}{outside}", f"]({up}{inside}")
    if _CONTENTS in source[0]:
        source[0] = source[0].replace(_CONTENTS, contents(source[0]))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Change pages as they are read."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
