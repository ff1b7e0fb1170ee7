"""The tables of a page as CSV beside it, for spreadsheets and other programs."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from kd_asr.reporting.tables import Table

_HEADING = re.compile(r"#+ +(.+)")
_BETWEEN_CELLS = re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([\\`*\[\]<>|~&_])|&lt;")
_LONGEST_NAME = 40


def write_page(path: Path, markdown: str) -> None:
    """Write a page `report.md` and each of its tables as `table-01-HEADING.csv`, with the figures as the page has them.
    """
    path.write_text(markdown, encoding="utf-8")
    for number, table in enumerate(tables_of(markdown), start=1):
        words = "-".join(re.findall("[a-z0-9]+", table.title.lower()))[:_LONGEST_NAME].rstrip("-")
        name = f"table-{number:02d}{'-' if words else ''}{words}.csv"
        with (path.parent / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([table.columns, *table.rows])


def tables_of(markdown: str) -> Iterator[Table]:
    """The tables of a page, each with the heading that it stands under; the inverse of `tables.to_markdown`."""
    heading, rows = "", []
    for line in [*markdown.splitlines(), ""]:
        found = _HEADING.fullmatch(line)
        if found:
            heading = _plain(found[1])
        if line.startswith("|"):
            rows.append([_plain(cell) for cell in _BETWEEN_CELLS.split(line)[1:-1]])
        elif rows:
            columns, _, *others = rows  # the second line says how columns are aligned
            yield Table(tuple(columns), tuple(map(tuple, others)), heading)
            rows = []


def _plain(cell: str) -> str:
    return _ESCAPED.sub(lambda found: found[1] or "<", cell).strip()
