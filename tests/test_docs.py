"""Pages for readers: what they link to is there, and what they tell them to type is known."""

import re
from pathlib import Path

import pytest

from kd_asr.registry import FOLDERS, names

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://", "javascript:")):  # the last is shown as what is escaped
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_found_from_the_readme() -> None:
    seen, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        if page.is_dir():
            ahead += page.glob("*.md")
            continue
        links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
        ahead += [(page.parent / link).resolve() for link in links if not link.startswith("http")]
        ahead = [one for one in ahead if one.exists() and (one.is_dir() or one.suffix == ".md")]
    # docs/contributing.md is CONTRIBUTING.md on the site.
    assert set(PAGES) - {ROOT / "CHANGELOG.md", ROOT / "docs" / "contributing.md"} <= seen


# Where the site describes what is registered: a page for each name, or one page for all.
PLACES = {
    "method": "methods/{}.md",
    "loss": "losses.md",
    "network": "networks.md",
    "teacher": "teachers.md",
    "corpus": "corpora.md",
    "executor": "scale.md",
    "pretrained": "pretrained.md",
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_everything_registered_has_its_heading_and_its_table_of_settings(kind: str) -> None:
    described = set()
    for page in {ROOT / "docs" / PLACES[kind].format(name) for name in names(kind)}:
        assert page.exists(), f"{page.relative_to(ROOT)} is missing: describe the {kind}"
        text = page.read_text(encoding="utf-8")
        tables = set(re.findall(rf"^```{{settings}} {kind} (\w+)$", text, flags=re.M))
        assert tables <= set(re.findall(r"^#+ `(\w+)`$", text, flags=re.M))
        described |= tables
    assert described == set(names(kind))


def test_every_method_is_in_the_list_of_methods() -> None:
    text = (ROOT / "docs" / "methods-of-distillation.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[`(\w+)`\]", text, flags=re.M)) == set(names("method"))
