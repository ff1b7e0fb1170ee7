"""What every page must be: whole, by itself, and readable without eyes or mouse."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from page_run import Page

from kd_asr.reporting.page.shell import SCRIPTS

_LINKS = ("src", "href")


def check_page(folder: Path) -> Page:
    """Read `index.html` and hold it to what all pages have in common."""
    page = Page(folder / "index.html")
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    for tag, found in page.elements:
        for link in (found[name] for name in _LINKS if name in found):
            assert link is not None
            if link.startswith("#"):
                assert link[1:] in ids, link
            elif link != "data:,":
                assert "://" not in link and not link.startswith(("//", "/")), link
                assert (folder / unquote(link)).is_file(), link
        if tag == "img":
            assert found.get("alt")
        if found.get("role") in ("img", "group", "region"):
            assert found.get("aria-label"), found
        assert not [name for name in found if name.startswith("on")], found
        if "for" in found:
            assert found["for"] in ids
        if "aria-labelledby" in found:
            assert found["aria-labelledby"] in ids
    labelled = {found.get("for") for found in page.all("label")}
    assert {found.get("id") for found in page.all("input")} <= labelled
    assert len(page.all("script")) == 2 + len(SCRIPTS)  # plotly, those of the package, and the data
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    assert page.all("html")[0]["lang"] == "en"
    for spec in page.data["plots"]:
        assert f"plot-{spec['name']}" in ids
        assert spec["data"]
    # Styles and scripts ask for nothing from elsewhere.
    for name in ("page.css", *SCRIPTS):
        text = (folder / "page" / name).read_text()
        assert "http:" not in text and "https:" not in text and "@import" not in text and "url(" not in text
        assert len(text.splitlines()) <= 400
    return page
