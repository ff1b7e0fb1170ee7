"""Plots for the sections of `reporting.controls`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from kd_asr.reporting.contents import Report, systems_of
from kd_asr.reporting.controls import sizes_compared
from kd_asr.reporting.palette import coloured
from kd_asr.reporting.plots import new_figure, save_figure
from kd_asr.reporting.tables import count


def plot_controls(report: Report, folder: Path) -> None:
    """Write `sizes.png`, `unlabelled.png` and `teachers.png`, as far as the report has their sections."""
    controls, source = report["controls"], report["corpus"]["source_label"]
    systems = coloured(systems_of(report))
    if sizes_compared(systems):
        _plot_sizes(report, folder / "sizes.png")
    if controls["unlabelled_shares"]:
        rows = controls["unlabelled_shares"]
        figure = new_figure(8.5, 3.8, "Students by unlabelled audio, on dev", source)
        minutes = [row["minutes"] for row in rows]
        for axes, key, label, scale in zip(
            figure.subplots(1, 2),
            ("dev_frame_accuracy", "dev_cross_entropy"),
            ("frame accuracy, %", "cross-entropy, nats"),
            (100.0, 1.0),
            strict=True,
        ):
            _curve(axes, minutes, [row[key] for row in rows], scale=scale, colour=systems.students[0].colour)
            axes.set_xlabel("minutes of unlabelled audio")
            axes.set_ylabel(label)
        save_figure(figure, folder / "unlabelled.png")
    teacher = systems.teacher
    if teacher is not None and len(controls["ensemble_sizes"]) > 1:
        rows = controls["ensemble_sizes"]
        figure = new_figure(8.5, 3.8, "Ensembles by number of networks", source)
        for axes, set_name in zip(figure.subplots(1, 2), ("dev", "test"), strict=True):
            members = [row["members"] for row in rows]
            _curve(axes, members, [row[set_name] for row in rows], scale=100.0, colour=teacher.colour)
            axes.set_xticks(members)
            axes.set_title(set_name, fontsize=10)
            axes.set_xlabel("networks in the ensemble")
            axes.set_ylabel("frame accuracy, %")
        save_figure(figure, folder / "teachers.png")


def _curve(
    axes: Axes,
    places: Sequence[float],
    values: Sequence[Sequence[float]],
    *,
    scale: float,
    colour: str,
    label: str = "",
) -> None:
    """A line through the means, and a dot for each value."""
    means = [scale * float(np.mean(one)) for one in values]
    axes.plot(places, means, "o-", color=colour, markersize=6, label=label or None)
    for place, several in zip(places, values, strict=True):
        axes.plot([place] * len(several), [scale * value for value in several], "o", color=colour, alpha=0.4, ms=3)
    axes.grid(alpha=0.3)
    axes.margins(y=0.12)


def _plot_sizes(report: Report, path: Path) -> None:
    """Frame accuracy and WER on test over the number of parameters; horizontal lines are full-size systems."""
    systems = coloured(systems_of(report))
    pairs = sizes_compared(systems)
    figure = new_figure(9.5, 4.2, "Students and baselines by size, on test", report["corpus"]["source_label"])
    panels = figure.subplots(1, 2)
    measures = (("frame_accuracy", "frame accuracy, %"), ("wer", "WER, %"))
    full = [systems.group(group.name) for group in pairs[0]]
    lines = [one for one in (systems.reference, systems.teacher) if one is not None and one not in full]
    networks: dict[str, Any] = report["figures"]["networks"]
    for axes, (measure, label) in zip(panels, measures, strict=True):
        for side, largest in enumerate(full):
            groups = [pair[side] for pair in pairs]
            sizes = [report["sizes"][group.name]["parameters"] for group in groups]
            values = [[one["test"][measure] for one in networks[group.name].values()] for group in groups]
            _curve(axes, sizes, values, scale=100.0, colour=largest.colour, label=largest.label)
        for group in lines:
            value = 100 * report["figures"]["systems"][group.name]["test"][measure]
            axes.axhline(value, color=group.colour, linestyle="--", linewidth=1, label=group.label)
        axes.set_xscale("log")
        ticks = sorted({report["sizes"][pair[1].name]["parameters"] for pair in pairs})
        axes.set_xticks(ticks, [count(tick) for tick in ticks], fontsize=8)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("parameters")
        axes.set_ylabel(label)
    panels[0].legend(fontsize=8, frameon=False)
    save_figure(figure, path)
