"""The plot of a comparison: a panel for each measure, a line for each group of systems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator

from kd_asr.reporting.compare_figures import CALIBRATION_ERROR
from kd_asr.reporting.compare_tables import SHOWN, measures
from kd_asr.reporting.plots import new_figure, save_figure

_MOST_TICKS = 4


def plot_comparison(content: Mapping[str, Any], path: Path) -> None:
    """Plot every measure with its interval over utterances and each system beside it, and the training's cost."""
    rows, names = content["rows"], [*measures(content), CALIBRATION_ERROR]
    runs = f" ({', '.join(content['runs'])})" if len(content["runs"]) > 1 else ""
    figure = new_figure(
        2.2 + 2.3 * (len(names) + 1), 1.9 + 0.42 * len(rows), "Methods side by side", f"{content['source']}{runs}"
    )
    *panels, cost = figure.subplots(1, len(names) + 1, sharey=True)
    for axes, name in zip(panels, names, strict=True):
        _measure(axes, rows, name, content["against"])
        axes.set_title(SHOWN[name].label, fontsize=9)
    _costs(cost, rows)
    cost.set_title("training, FLOP", fontsize=9)
    panels[0].set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=9)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    over = "utterances" if content["task"] == "speech" else "images"
    figure.supxlabel(
        f"large: mean over seeds, with its 95 % interval over {over} where there is one; small: single systems; "
        "dashed: compared with; hollow: with all that it learnt from",
        fontsize=8,
    )
    save_figure(figure, path)


def _measure(axes: Axes, rows: Sequence[Mapping[str, Any]], name: str, against: str | None) -> None:
    factor = SHOWN[name].factor
    for position, row in enumerate(rows):
        found, colour = row["measures"][name], row["colour"]
        value = factor * found["value"]
        whiskers = None
        if "interval" in found:
            low, high = (factor * end for end in found["interval"])
            whiskers = [[max(0.0, value - low)], [max(0.0, high - value)]]
        axes.errorbar(value, position, xerr=whiskers, fmt="o", color=colour, capsize=4, markersize=7, zorder=3)
        if len(found["values"]) > 1:
            each = [factor * one for one in found["values"]]
            axes.plot(each, [position + 0.24] * len(each), "o", color=colour, alpha=0.5, markersize=3.5, zorder=2)
        if row["key"] == against:
            axes.axvline(value, linestyle="--", linewidth=1, color=colour, alpha=0.7, zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(_MOST_TICKS))
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(axis="x", labelsize=8)
    axes.margins(x=0.12)


def _round_numbers(low: float, high: float) -> list[float]:
    """A few numbers 1, 2 or 5 times a power of ten, between two positive ones; around them where none is between."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
    inside = [one for one in found if low <= one <= high] or [one for one in found if low / 3 <= one <= 3 * high]
    return inside[:: math.ceil(len(inside) / _MOST_TICKS)]


def _costs(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for position, row in enumerate(rows):
        own, everything = (row["cost"][one]["operations"] for one in ("training", "with_teachers"))
        axes.plot([own, everything], [position, position], "-", color=row["colour"], linewidth=1.2)
        axes.plot(everything, position, "o", color=row["colour"], markerfacecolor="white", markersize=7)
        axes.plot(own, position, "o", color=row["colour"], markersize=7)
    axes.set_xscale("log")
    everything = [row["cost"][one]["operations"] for row in rows for one in ("training", "with_teachers")]
    axes.xaxis.set_major_locator(FixedLocator(_round_numbers(min(everything), max(everything))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(axis="x", labelsize=8)
    axes.margins(x=0.15)
