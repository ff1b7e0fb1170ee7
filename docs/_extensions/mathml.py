"""Formulas as MathML, made when the site is built: pages need neither a script nor a network to show them."""

from __future__ import annotations

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

# Functions whose argument follows without a parenthesis are set a little apart from it.
_FUNCTION = re.compile(r"<mi>(log|exp)</mi>(?!<mo[^>]*>(?:\(|&#x00028;))")


def _mathml(node: nodes.math | nodes.math_block, display: str) -> str:
    return _FUNCTION.sub(r'<mi>\1</mi><mspace width="0.17em" />', convert(node.astext(), display=display))


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_mathml(node, "inline"))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_mathml(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the renderer `mathml`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
