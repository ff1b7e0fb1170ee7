"""The map as a page, a CSV table and a plot."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from kd_asr.jobs.systems import Group
from kd_asr.reporting.palette import coloured_groups
from kd_asr.reporting.plots import new_figure, save_figure
from kd_asr.reporting.tables import NOT_KNOWN, Table, byte_size, count, decimal, percent, percent_interval, to_markdown
from kd_asr.shrink.forms import FULL
from kd_asr.shrink.map import COSTS, Cost, Row
from kd_asr.text import in_markdown

_LABELS: dict[Cost, str] = {"packed": "bytes, packed", "real_time_factor": "real-time factor of the networks"}
_MARKS = {"fp32": "o", "fp16": "s", "bf16": "D", "int8": "v"}
_ABOUT = (
    "All figures are those of dev, on which a point is chosen; test is not read. Rows are means over networks that "
    "differ in their seeds, with 95 % intervals over utterances. `full` is a network as it was trained; pruned-N has "
    "N % of the weights of each layer at 0, units-N keeps N % of the hidden units, low-rank-N has factors with N % of "
    "the weights, quantised was trained for 8 bits; all of these were fine-tuned with the losses and the teacher of "
    "their own training. fp16 and bf16 are precisions of the file: the network computes in fp32. int8 is ONNX "
    "Runtime's, after training but for quantised. `packed` is the size of the files when they are deflated, as in a "
    "zip file. The real-time factor is the processor time of one thread for a second of speech, without the search. A "
    "`*` marks rows on the front: none is both smaller (or faster) and more accurate."
)


def map_table(rows: Sequence[Row], groups: Sequence[Group]) -> Table:
    """The rows for a page."""
    labels = {group.name: group.label for group in groups}
    cells = [
        (
            f"{labels[row.group]} ({len(row.systems)})",
            row.form,
            row.writing,
            byte_size(row.bytes),
            f"{byte_size(row.packed)}{' *' if 'packed' in row.fronts else ''}",
            count(row.weights),
            count(row.multiply_adds),
            f"{decimal(row.real_time_factor, 4)}{' *' if 'real_time_factor' in row.fronts else ''}",
            percent(row.frame_accuracy),
            percent_interval(row.interval),
            percent(row.wer),
            percent_interval(row.wer_interval) if row.wer_interval else NOT_KNOWN,
        )
        for row in rows
    ]
    heads = (
        *("system", "form", "precision", "size", "packed", "weights not 0", "multiply-adds per frame"),
        *("real-time factor", "frame accuracy %", "95 % interval", "WER %", "95 % interval"),
    )
    return Table(heads, tuple(cells))


def short_table(rows: Sequence[Row], groups: Sequence[Group]) -> Table:
    """The rows on a front for the console."""
    labels = {group.name: group.label for group in groups}
    cells = [
        (
            f"{labels[row.group]} {row.form} {row.writing}",
            byte_size(row.packed),
            decimal(row.real_time_factor, 4),
            percent(row.frame_accuracy),
            percent(row.wer),
        )
        for row in rows
        if row.fronts
    ]
    return Table(("on the front", "packed", "RTF", "dev acc. %", "dev WER %"), tuple(cells), "Smaller networks")


def write_map(folder: Path, rows: Sequence[Row], groups: Sequence[Group], source: str) -> None:
    """Write `map.md`, `map.csv` and `map.png`."""
    page = f"# Smaller networks: {in_markdown(source)}\n\n{_ABOUT}\n\n![The map](map.png)\n\n"
    (folder / "map.md").write_text(page + to_markdown(map_table(rows, groups)), encoding="utf-8")
    write_csv(folder / "map.csv", rows)
    plot_map(folder / "map.png", rows, groups, source)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write a line for each row; rates are fractions, an empty cell is not known."""
    names = ("group", "form", "writing", "bytes", "packed", "weights", "multiply_adds", "real_time_factor")
    heads = [*names, "systems", "frame_accuracy", "frame_accuracy_low", "frame_accuracy_high"]
    heads += ["frame_accuracy_of_systems", "wer", "wer_low", "wer_high", "wer_of_systems", "fronts"]
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(heads)
        for row in rows:
            lines.writerow(
                [
                    *(getattr(row, name) for name in names),
                    " ".join(row.systems),
                    row.frame_accuracy,
                    *row.interval,
                    " ".join(map(repr, row.frame_accuracies)),
                    row.wer,
                    *(row.wer_interval or (None, None)),
                    " ".join(map(repr, row.wers)),
                    " ".join(row.fronts),
                ]
            )


def plot_map(path: Path, rows: Sequence[Row], groups: Sequence[Group], source: str) -> None:
    """Plot frame accuracy, and word error rate where it is known, against size and time."""
    known = [row for row in rows if row.wer is not None]
    figure = new_figure(12, 9 if known else 5, "Smaller networks, on dev", source)
    colours = {group.name: group.colour for group in coloured_groups(groups)}
    panels = figure.subplots(2 if known else 1, len(COSTS), squeeze=False)
    for axes, cost in zip(panels[0], COSTS, strict=True):
        _points(axes, rows, cost, colours, words=False)
        front = sorted((row for row in rows if cost in row.fronts), key=lambda row: row.cost(cost))
        axes.plot(
            [row.cost(cost) for row in front],
            [100 * row.frame_accuracy for row in front],
            drawstyle="steps-post", color="black", linewidth=0.8, zorder=1,
        )  # fmt: skip
        axes.set_ylabel("frame accuracy %")
    if known:
        for axes, cost in zip(panels[1], COSTS, strict=True):
            _points(axes, known, cost, colours, words=True)
            axes.set_ylabel("WER %")
    labels = {group.name: group.label for group in groups}
    for group, colour in colours.items():
        panels[0][0].plot([], [], "o", color=colour, label=labels[group])
    for writing, mark in _MARKS.items():
        if any(row.writing == writing for row in rows):
            panels[0][0].plot([], [], mark, color="grey", label=writing)
    figure.legend(loc="outside lower center", ncols=6, fontsize=8)
    save_figure(figure, path)


def _points(axes: Axes, rows: Sequence[Row], cost: Cost, colours: dict[str, str], *, words: bool) -> None:
    for row in rows:
        value = row.wer if words else row.frame_accuracy
        interval = row.wer_interval if words else row.interval
        if value is None or interval is None:
            continue
        axes.errorbar(
            row.cost(cost),
            100 * value,
            yerr=[[100 * max(0.0, value - interval[0])], [100 * max(0.0, interval[1] - value)]],
            fmt=_MARKS[row.writing], color=colours[row.group], markersize=5, linewidth=0.5, alpha=0.85, zorder=2,
        )  # fmt: skip
        if row.fronts or row.form == FULL:
            axes.annotate(
                row.form, (row.cost(cost), 100 * value), (4, 3), textcoords="offset points", fontsize=6, zorder=3
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_formatter(EngFormatter())
    axes.set_xlabel(_LABELS[cost])
    axes.grid(alpha=0.3, which="both")
