"""A table as data, and its two forms: Markdown for files, rich for the console."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import rich.table
from rich.cells import cell_len
from rich.text import Text

from kd_asr.text import in_markdown

CONSOLE_COLUMNS = 80
_LEAST_NAME = 12  # columns for the name of a row
NOT_KNOWN = "–"  # noqa: RUF001 - an en dash, for a cell without a figure


@dataclass(frozen=True)
class Table:
    """Rows of text cells. The first column names the row; the others are aligned to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells for {len(self.columns)} columns: {row}")


def to_markdown(table: Table) -> str:
    """A Markdown table; the title is not part of it."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(in_markdown, cells)) + " |"

    alignment = "|---|" + "---:|" * (len(table.columns) - 1)
    return "\n".join([line(table.columns), alignment, *map(line, table.rows)]) + "\n"


def to_rich(table: Table) -> rich.table.Table:
    """A table for the console, in 80 columns as far as its figures allow."""
    table = _fitted(table)
    # As text, so that brackets are no markup.
    printed = rich.table.Table(title=Text(table.title) if table.title else None, title_justify="left")
    for number, column in enumerate(table.columns):
        last = number == len(table.columns) - 1  # the one to wrap where a row is too wide
        printed.add_column(Text(column), justify="right" if number else "left", no_wrap=not last)
    for row in table.rows:
        printed.add_row(*map(Text, row))
    return printed


def _fitted(table: Table) -> Table:
    """The table with heads, then names of rows, in several lines where it is wider than `CONSOLE_COLUMNS`."""
    frame = 3 * len(table.columns) + 1

    def widths(columns: Sequence[str]) -> list[int]:
        cells = zip(columns, *table.rows, strict=True)
        return [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in cells]

    if sum(widths(table.columns)) + frame <= CONSOLE_COLUMNS:
        return table
    # No head is wider than the figures below it, or else than its longest word.
    least = widths([max(column.split(), key=len, default="") for column in table.columns])
    heads = tuple(
        "\n".join(textwrap.wrap(column, width, break_long_words=False))
        for column, width in zip(table.columns, least, strict=True)
    )
    room = max(_LEAST_NAME, CONSOLE_COLUMNS - frame - sum(widths(heads)[1:]))
    names = ["\n".join(textwrap.wrap(name, room)) for name in (table.columns[0], *(row[0] for row in table.rows))]
    rows = tuple((name, *row[1:]) for name, row in zip(names[1:], table.rows, strict=True))
    return Table((names[0], *heads[1:]), rows, table.title)


def in_lines(label: str) -> str:
    """A label wrapped to 14 characters, so that labels fit side by side, and beside figures in 80 columns."""
    return "\n".join(textwrap.wrap(label, 14, break_long_words=False))


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction in percent, without the percent sign, which the column's head has."""
    return NOT_KNOWN if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}"


def signed_percent(value: float | None, digits: int = 2) -> str:
    """A difference of fractions in percentage points, with + or -."""
    return NOT_KNOWN if value is None or not math.isfinite(value) else f"{100 * value:+.{digits}f}"


def percent_interval(interval: Sequence[float | None] | None, digits: int = 2, *, signed: bool = False) -> str:
    """An interval of fractions, in percent; an unbounded end is `…`."""
    if interval is None:
        return NOT_KNOWN
    low, high = interval
    if low is None and high is None:
        return "not bounded"
    sign = "+" if signed else ""
    ends = ["…" if end is None else f"{100 * end:{sign}.{digits}f}" for end in (low, high)]
    return f"{ends[0]} to {ends[1]}"


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with thousands separators."""
    return NOT_KNOWN if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """A count; a mean of counts keeps one decimal where it is not whole."""
    if value is None:
        return NOT_KNOWN
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def byte_size(value: float | None) -> str:
    """Bytes to three figures in a readable unit (powers of 1000)."""
    if value is None:
        return NOT_KNOWN
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:#.3g} {unit}".replace(". ", " ")
        value /= 1000
    return f"{value:.2f} TB"


def duration(seconds: float | None) -> str:
    """Seconds as 12.3 s, 4 min 05 s or 1 h 02 min."""
    if seconds is None:
        return NOT_KNOWN
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def p_value(value: float) -> str:
    """A p-value to two figures, and a bound below a thousandth."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
