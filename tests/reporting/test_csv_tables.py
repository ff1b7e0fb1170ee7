"""Tables of a page as CSV."""

import csv
from pathlib import Path

from kd_asr.reporting.csv_tables import tables_of, write_page
from kd_asr.reporting.tables import Table, to_markdown

FIRST = Table(("system", "WER %"), (("a|b \\ `c` <d> *e* _f_ ~ & &lt;", "1 to 2"), ("", "\u2013")), "Results, all")
SECOND = Table(("x", "y", "z"), (("1", "2", "3"),), "")


def test_tables_of_a_page_are_what_they_were(tmp_path: Path) -> None:
    page = f"# Report\n\nText | no table\n\n## {FIRST.title}\n{to_markdown(FIRST)}\nmore\n\n{to_markdown(SECOND)}"
    first, second = tables_of(page)
    assert first == FIRST
    assert second == Table(SECOND.columns, SECOND.rows, FIRST.title)
    write_page(tmp_path / "report.md", page)
    assert (tmp_path / "report.md").read_text() == page
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == [
        "table-01-results-all.csv",
        "table-02-results-all.csv",
    ]
    with (tmp_path / "table-01-results-all.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [list(FIRST.columns), *map(list, FIRST.rows)]
