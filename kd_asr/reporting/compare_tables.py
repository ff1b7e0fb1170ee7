"""Tables of a comparison, from the dictionary that `comparison.json` holds: for the console, a page, and CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kd_asr.reporting.compare_figures import CALIBRATION_ERROR, MEASURES
from kd_asr.reporting.tables import (
    NOT_KNOWN,
    Table,
    byte_size,
    count,
    decimal,
    duration,
    in_lines,
    p_value,
    percent,
    percent_interval,
    to_markdown,
)
from kd_asr.text import in_markdown

Content = Mapping[str, Any]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """How tables show a measure.

    Attributes:
        label: Name with its unit.
        short: The same for the console, in lines.
        factor: What values are multiplied by.
        digits: Digits after the point.
    """

    label: str
    short: str
    factor: float
    digits: int

    def plain(self, value: float | None) -> str:
        """A value."""
        return NOT_KNOWN if value is None else decimal(self.factor * value, self.digits)

    def signed(self, value: float | None) -> str:
        """A difference, with its sign."""
        return NOT_KNOWN if value is None else f"{self.factor * value:+,.{self.digits}f}"

    def interval(self, ends: list[float] | None, *, signed: bool = False) -> str:
        """An interval."""
        if ends is None:
            return NOT_KNOWN
        form: Callable[[float], str] = self.signed if signed else self.plain
        return f"{form(ends[0])} to {form(ends[1])}"


SHOWN = {
    "frame_accuracy": Shown("frame accuracy %", "acc.\n%", 100, 2),
    "cross_entropy": Shown("cross-entropy, nats", "nats", 1, 3),
    "wer": Shown("WER %", "WER\n%", 100, 2),
    "errors": Shown("errors", "errors", 1, 1),
    CALIBRATION_ERROR: Shown("calibration error %", "calib.\nerr. %", 100, 2),
}


def measures(content: Content) -> list[str]:
    """Measures of the comparison that are resampled, in the order of the columns."""
    order = list(SHOWN)
    return sorted((one.name for one in MEASURES[content["task"]]), key=order.index)


def title(content: Content) -> str:
    """Heading of table and page."""
    return f"Methods side by side: {content['source']}"


def decisive(content: Content) -> str:
    """The measure that the console shows differences of."""
    return MEASURES[content["task"]][0].name


def _sharing(content: Content) -> list[str]:
    sharing = {one.name for one in MEASURES[content["task"]] if one.shares}
    return [name for name in measures(content) if name in sharing]


def _compared(content: Content) -> Row | None:
    return next((row for row in content["rows"] if row["key"] == content["against"]), None)


def si(value: float | None) -> str:
    """A large number to three figures with the prefix of its thousands, such as 12.3 G."""
    if value is None:
        return NOT_KNOWN
    for prefix in ("", "k", "M", "G", "T", "P", "E"):
        if value < 999.5:
            return f"{value:.0f}" if not prefix else f"{value:#.3g} {prefix}".replace(". ", " ")
        value /= 1000
    return f"{value:.0f} Z"


def _system(row: Row) -> str:
    """Name of a row with the size of its systems and their number."""
    parts = [f"{row['networks']} network{'s' if row['networks'] > 1 else ''}"]
    parts += [f"mean of {row['systems']}"] if row["systems"] > 1 else []
    return f"{row['label']} ({', '.join(parts)})"


def console_table(content: Content) -> Table:
    """The comparison in 80 columns: figures, share of the gain, difference of the decisive measure, cost."""
    columns, decides = [*measures(content), CALIBRATION_ERROR], decisive(content)
    rows = []
    for row in content["rows"]:
        values = [SHOWN[one].plain(row["measures"][one]["value"]) for one in columns]
        share = row["measures"][_sharing(content)[0]]["share_of_gain"]
        against = row["measures"][decides].get("against")
        rows.append(
            (
                in_lines(f"{row['label']} ({row['systems'] if row['systems'] > 1 else row['networks']})"),
                *values,
                percent(share["value"], 0) if share else NOT_KNOWN,
                _in_short(against, SHOWN[decides]),
                si(row["cost"]["with_teachers"]["operations"]).replace(" ", ""),
            )
        )
    compared = _compared(content)
    apart = [f"{SHOWN[decides].label.split()[0]} −", *textwrap.wrap(compared["label"], 10)] if compared else ["apart"]  # noqa: RUF001
    heads = ("system", *(SHOWN[one].short for one in columns), "kept\n%", "\n".join(apart), "FLOP")
    return Table(heads, tuple(rows), title=title(content))


def _in_short(against: Mapping[str, Any] | None, shown: Shown) -> str:
    """A difference, and both p-values below it."""
    if against is None:
        return NOT_KNOWN
    over = [against["over_utterances"]["p_value"], (against["over_seeds"] or {}).get("p_value")]
    return f"{shown.signed(against['over_utterances']['value'])}\np {'/'.join(map(_short_p, over))}"


def _short_p(value: float | None) -> str:
    """A p-value to two digits after the point."""
    return NOT_KNOWN if value is None else "<.01" if value < 0.01 else f"{value:.2f}".removeprefix("0")


def legend(content: Content) -> str:
    """What the console's table leaves unsaid."""
    over = "utterances" if content["task"] == "speech" else "images"
    lines = [
        f"Test: {content['utterances']:,} {over}. kept: share of the teacher's gain over networks on hard labels"
        f"{', in frame accuracy' if content['task'] == 'speech' else ''}. FLOP: training of one system with all that "
        "it learnt from."
    ]
    if content["against"]:
        lines.append(f"Below a difference: p over {over} / over seeds; both must be small.")
    return "\n".join(lines)


def quality_table(content: Content) -> Table:
    """Figures on test with intervals."""
    columns = measures(content)
    heads = ["system"]
    for one in columns:
        heads += [SHOWN[one].label, "95 % interval"]
    heads += [SHOWN[CALIBRATION_ERROR].label, *(f"gain kept % ({_plain_label(one)})" for one in _sharing(content))]
    rows = []
    for row in content["rows"]:
        cells = [_system(row)]
        for one in columns:
            found = row["measures"][one]
            cells += [SHOWN[one].plain(found["value"]), SHOWN[one].interval(found["interval"])]
        cells.append(SHOWN[CALIBRATION_ERROR].plain(row["measures"][CALIBRATION_ERROR]["value"]))
        cells += [_kept(row["measures"][one]["share_of_gain"]) for one in _sharing(content)]
        rows.append(tuple(cells))
    return Table(tuple(heads), tuple(rows))


def _kept(share: Mapping[str, Any] | None) -> str:
    """A share of the gain with its interval."""
    if share is None:
        return NOT_KNOWN
    if share["value"] is None:
        return "no gain to keep"
    return f"{percent(share['value'], 0)} ({percent_interval(share['interval'], 0)})"


def _plain_label(measure: str) -> str:
    return SHOWN[measure].label.removesuffix(" %")


def difference_table(content: Content) -> Table | None:
    """Differences from the students that all are compared with; None without them."""
    compared = _compared(content)
    if compared is None:
        return None
    over = "utterances" if content["task"] == "speech" else "images"
    rows = []
    for one in measures(content):
        for row in content["rows"]:
            against = row["measures"][one].get("against")
            if against is None:
                continue
            sampled, seeds = against["over_utterances"], against["over_seeds"]
            shown = SHOWN[one]
            rows.append(
                (
                    f"{shown.label}: {row['label']}",
                    shown.signed(sampled["value"]),
                    shown.interval(sampled["interval"], signed=True),
                    *_both_p(sampled),
                    shown.interval(seeds["interval"], signed=True) if seeds else NOT_KNOWN,
                    *_both_p(seeds),
                )
            )
    both = ("p", "p of all methods")
    heads = (f"minus {compared['label']}", "difference", f"95 % interval over {over}", *both, "over seeds", *both)
    return Table(heads, tuple(rows)) if rows else None


def _both_p(found: Mapping[str, Any] | None) -> tuple[str, str]:
    """A p-value alone, and as one of all methods'."""
    if not found:
        return NOT_KNOWN, NOT_KNOWN
    return p_value(found["p_value"]), p_value(found["p_holm"]) if "p_holm" in found else NOT_KNOWN


def cost_table(content: Content) -> Table:
    """Costs of training and use."""
    frame, speech = "frame" if content["task"] == "speech" else "image", content["task"] == "speech"
    rows = []
    for row in content["rows"]:
        cost = row["cost"]
        rows.append(
            (
                _system(row),
                si(cost["training"]["operations"]),
                duration(cost["training"]["seconds"]),
                si(cost["with_teachers"]["operations"]),
                duration(cost["with_teachers"]["seconds"]),
                count(cost["parameters"]),
                byte_size(cost["bytes"]),
                si(cost["multiply_adds"]),
                *((decimal(cost[f"{one}_real_time_factor"], 4) for one in ("network", "search")) if speech else ()),
            )
        )
    heads = (
        *("system", "training, FLOP", "time", "with its teachers, FLOP", "time", "parameters", "size"),
        f"multiply-adds per {frame}",
        *(("network real-time factor", "search real-time factor") if speech else ()),
    )
    return Table(heads, tuple(rows))


def page(content: Content) -> str:
    """The comparison as Markdown."""
    differences = difference_table(content)
    over = "utterances" if content["task"] == "speech" else "images"
    runs = ", ".join(map(in_markdown, content["runs"]))
    sections = [
        f"# {in_markdown(title(content))}",
        f"Test: {content['utterances']:,} {over}. Runs: {runs}. `docs/comparison.md` says what each column means.",
        to_markdown(quality_table(content)),
        "![Methods side by side](comparison.png)",
    ]
    if differences is not None:
        sections += ["## Differences", to_markdown(differences)]
    sections += ["## Costs", to_markdown(cost_table(content))]
    return "\n\n".join(section.rstrip("\n") for section in sections) + "\n"


def csv_text(content: Content) -> str:
    """The comparison as CSV (RFC 4180), a line a system group; rates are fractions, an empty cell is not known."""
    lines = [dict(_cells(content, row)) for row in content["rows"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _cells(content: Content, row: Row) -> Iterator[tuple[str, Any]]:
    """Name and value of every cell of a line."""
    yield from ((name, row[name]) for name in ("label", "run", "group", "role", "systems", "networks"))
    for name in (*measures(content), CALIBRATION_ERROR):
        found = row["measures"][name]
        yield name, found["value"]
        if "interval" in found:
            yield from _ends(name, found["interval"])
        yield from _ends(f"{name}_over_seeds", found["interval_over_seeds"])
        yield f"{name}_of_systems", " ".join(map(repr, found["values"]))
        if name in _sharing(content):
            share = found["share_of_gain"] or {"value": None, "interval": None}
            yield f"{name}_share_of_gain", share["value"]
            yield from _ends(f"{name}_share_of_gain", share["interval"])
        if name != CALIBRATION_ERROR:
            for over in ("over_utterances", "over_seeds"):
                apart = (found.get("against") or {}).get(over) or {"value": None, "interval": None, "p_value": None}
                prefix = f"{name}_against_{over}"
                yield prefix, apart["value"]
                yield from _ends(prefix, apart["interval"])
                yield f"{prefix}_p", apart["p_value"]
                yield f"{prefix}_p_holm", apart.get("p_holm")
    cost = row["cost"]
    for part in ("training", "with_teachers"):
        yield f"{part}_operations", cost[part]["operations"]
        yield f"{part}_minutes", cost[part]["seconds"] / 60
    names = ("parameters", "bytes", "multiply_adds", "network_real_time_factor", "search_real_time_factor")
    yield from ((name, cost[name]) for name in names)


def _ends(name: str, interval: list[float | None] | None) -> Iterator[tuple[str, float | None]]:
    low, high = interval or (None, None)
    yield f"{name}_low", low
    yield f"{name}_high", high
