"""The parts that pages of all kinds have: the HTML around the sections, styles and scripts, and plotly beside them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from kd_asr.reporting.page.markup import Html, as_json, element, joined
from kd_asr.reporting.page.plots import Plot

PAGE = "index.html"
FOLDER = "page"
PLOTLY = "plotly.min.js"
STYLE = "page.css"
# In the order in which a page loads them.
SCRIPTS = ("plots.js", "lists.js", "sound.js", "digits.js")


def write_shell(
    folder: Path,
    *,
    title: str,
    lead: Sequence[Html],
    sections: Sequence[tuple[str, str, Sequence[Html]]],
    data: Mapping[str, Any],
    plots: Sequence[Plot],
) -> None:
    """Write `index.html`, and `page/` with style, scripts and plotly.

    Args:
        folder: of the report.
        title: heading.
        lead: what stands before the first section.
        sections: id, heading and content of each.
        data: what scripts read, beside the plots.
        plots: all plots that the content has places for.
    """
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    for name in (STYLE, *SCRIPTS):
        (target / name).write_bytes((files(__package__) / "assets" / name).read_bytes())
    with as_file(files("plotly") / "package_data" / PLOTLY) as library:
        shutil.copyfile(library, target / PLOTLY)
    links = [element("a", heading, href=f"#{name}") for name, heading, _ in sections]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("link", rel="icon", href="data:,"),  # none, and no request for one
        element("link", rel="stylesheet", href=f"{FOLDER}/{STYLE}"),
        *(element("script", src=f"{FOLDER}/{name}", defer=True) for name in (PLOTLY, *SCRIPTS)),
    )
    content = {**data, "plots": [plot.spec for plot in plots]}
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        element(
            "header",
            element("h1", title),
            element("button", "Light or dark", type="button", id="theme", aria_pressed="false"),
            element("nav", joined(links), aria_label="Sections"),
        ),
        element(
            "main",
            element("noscript", element("p", "Plots and the list of utterances need JavaScript.", class_="banner")),
            joined(lead),
            *(
                element("section", element("h2", heading, id=f"{name}-heading"), joined(inside), id=name,
                        aria_labelledby=f"{name}-heading")
                for name, heading, inside in sections
            ),
            id="content",
        ),
        element("script", Html(as_json(content)), type="application/json", id="data"),
    )  # fmt: skip
    page = element("html", head, body, lang="en")
    (folder / PAGE).write_text(f"<!DOCTYPE html>\n{page}\n", encoding="utf-8")


def paragraphs(sentences: Sequence[str], **attributes: object) -> list[Html]:
    """A paragraph for each sentence."""
    return [element("p", sentence, **attributes) for sentence in sentences]


def plots_element(plots: Sequence[Plot], folder: Path) -> Html:
    """Places of several plots; the PNG is linked where there is one."""
    placed = [plot.element(pictures=(folder / plot.picture).is_file()) for plot in plots]
    return element("div", joined(placed), class_="plots")
