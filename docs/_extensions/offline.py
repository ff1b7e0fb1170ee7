"""A check of the built site: no page asks for a script, a style or a picture from a network."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

_REMOTE = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"((?:https?:)?//[^\"]+)\"")


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    for page in sorted(Path(app.outdir).rglob("*.html")):
        for address in _REMOTE.findall(page.read_text(encoding="utf-8")):
            logging.getLogger(__name__).warning("%s asks for %s", page.relative_to(app.outdir), address)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Check pages when all are written; a warning fails a strict build."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
