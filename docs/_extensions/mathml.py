"""Formulas as MathML, made when the site is built: pages need neither a script nor a network to show them."""

from __future__ import annotations

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

# Functions are set a little apart from a factor before them, and from an argument without parentheses.
_SPACE = '<mspace width="0.2em" />'
_FACTOR = re.compile(r"(&#x00029;</mo>|</mi>|</msub>)(?=<mi>(?:log|exp)</mi>)")
_FUNCTION = re.compile(r"<mi>(log|exp)</mi>(?!<mo[^>]*>(?:\(|&#x00028;))")


def _mathml(node: nodes.math | nodes.math_block, display: str) -> str:
    formula = _FACTOR.sub(rf"\1{_SPACE}", convert(node.astext(), display=display))
    return _FUNCTION.sub(rf"<mi>\1</mi>{_SPACE}", formula)


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
