"""docs/experiments: what was tried for presets, as tables sorted by dev cross-entropy."""

from pathlib import Path

import pytest

from kd_asr.presets import FOLDER

DOCS = Path(__file__).parent.parent / "docs" / "experiments"
PAGES = sorted(page for page in DOCS.glob("*.md") if (FOLDER / f"{page.stem}.yaml").is_file())


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table, its head first, without the line below it."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("| "):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif not line.startswith("|") and found[-1]:
            found.append([])
    return [table for table in found if table]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_rows_are_sorted_by_cross_entropy(page: Path) -> None:
    assert tables(page.read_text())
    for head, *rows in tables(page.read_text()):
        assert {len(row) for row in rows} == {len(head)}
        figures = [row[head.index("dev cross-entropy")] for row in rows]
        values = [float(figure.split()[0]) if figure else float("inf") for figure in figures]
        assert values == sorted(values)


def test_presets_name_pages_that_are_there() -> None:
    for preset in FOLDER.glob("*.yaml"):
        named = [word.rstrip(".") for word in preset.read_text().split() if word.startswith("docs/experiments/")]
        assert all((DOCS.parent.parent / name).is_file() for name in named)
