"""Plots of a report as PNG files. Each has the corpus in its title, since it may be shown by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from kd_asr.corpora.manifest import SETS
from kd_asr.jobs.systems import Systems
from kd_asr.reporting.contents import Report, systems_of
from kd_asr.reporting.palette import coloured
from kd_asr.reporting.tables import in_lines

_PARTS = (("substitutions", "#56B4E9"), ("deletions", "#CC79A7"), ("insertions", "#F0E442"))
_POINTS = 300  # of a training curve; more are averaged in groups


def new_figure(width: float, height: float, title: str, source: str) -> Figure:
    # Without pyplot, which has global state and may need a display.
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title}\n{source}", fontsize=11)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    for text in figure.findobj(Text):
        # Names of corpora and words may hold dollar signs, which are no formulas; numbers on an axis are.
        if isinstance(text, Text) and text.get_text() and "mathdefault" not in text.get_text():
            text.set_parse_math(False)
    # Without the software's version, so that the same figures give the same bytes.
    figure.savefig(path, metadata={"Software": None})


def _whiskers(value: float, interval: Sequence[float]) -> list[list[float]]:
    return [[100 * max(0.0, value - interval[0])], [100 * max(0.0, interval[1] - value)]]


def plot_frame_accuracy(report: Report, path: Path) -> None:
    """Plot frame accuracy on each set: groups with their intervals, and single networks beside them.

    Points rather than bars: systems differ by a few points in sixty, which bars from zero would hide.
    """
    figures, systems = report["figures"], coloured(systems_of(report))
    wide = _width(systems)
    figure = new_figure(9.5 * wide, 4.2, "Frame accuracy", report["corpus"]["source_label"])
    panels = figure.subplots(1, len(SETS))
    for axes, set_name in zip(panels, SETS, strict=True):
        for position, group in enumerate(systems.groups):
            by_network = figures["member_frame_accuracy"].get(group.name) or {
                name: {set_name: one[set_name]["frame_accuracy"]}
                for name, one in figures["networks"][group.name].items()
            }
            _dots(axes, position, [100 * one[set_name] for one in by_network.values()], group.colour)
            one = figures["systems"][group.name][set_name]
            value, interval = one["frame_accuracy"], one.get("frame_accuracy_interval")
            axes.errorbar(
                position,
                100 * value,
                yerr=_whiskers(value, interval) if interval else None,
                fmt="o",
                markersize=8,
                capsize=5,
                linewidth=1.6,
                color=group.colour,
                zorder=3,
            )
            axes.annotate(
                f"{100 * value:.2f}", (position, 100 * value), (8, 5), textcoords="offset points", fontsize=8, zorder=4
            )
        axes.set_title(set_name, fontsize=10)
        axes.set_xticks(range(len(systems.groups)), [in_lines(group.label) for group in systems.groups], fontsize=9)
        axes.set_xlim(-0.5, len(systems.groups) - 0.25)
        axes.margins(y=0.12)
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("frame accuracy, %")
    figure.supxlabel(
        "large: the system, with its 95 % bootstrap interval (dev, test); small: its single networks; the axes do not "
        "begin at zero",
        fontsize=8,
    )
    save_figure(figure, path)


def _width(systems: Systems) -> float:
    """Width of a figure relative to one with three groups."""
    return max(1.0, 0.25 + 0.25 * len(systems.groups))


def _dots(axes: Axes, position: float, values: Sequence[float], colour: str) -> None:
    axes.plot([position - 0.22] * len(values), values, "o", markersize=4, color=colour, alpha=0.45, zorder=2)


def plot_wer(report: Report, path: Path) -> None:
    """Plot WER on dev and test as bars of substitutions, deletions and insertions, with the interval of the sum."""
    systems = systems_of(report)
    figure = new_figure(8.5 * _width(systems), 4.4, "Word error rate", report["corpus"]["source_label"])
    panels = figure.subplots(1, 2, sharey=True)
    for axes, set_name in zip(panels, ("dev", "test"), strict=True):
        for position, group in enumerate(systems.groups):
            one = report["figures"]["systems"][group.name][set_name]
            bottom = 0.0
            for part, colour in _PARTS:
                height = 100 * one[part] / one["reference_words"]
                label = part if position == 0 else None
                axes.bar(position, height, bottom=bottom, width=0.6, color=colour, edgecolor="white", label=label)
                bottom += height
            axes.errorbar(
                position, 100 * one["wer"], yerr=_whiskers(one["wer"], one["wer_interval"]), color="black", capsize=5
            )
            axes.annotate(
                f"{100 * one['wer']:.2f}",
                (position, 100 * one["wer_interval"][1]),
                (0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        axes.set_title(set_name, fontsize=10)
        axes.set_xticks(range(len(systems.groups)), [in_lines(group.label) for group in systems.groups])
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    # Room for the numbers, also if all bars end at the same height.
    panels[0].set_ylim(0, 1.12 * max(axes.dataLim.ymax for axes in panels))
    panels[0].set_ylabel("errors per 100 reference words")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    save_figure(figure, path)


def plot_training_curves(
    histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], systems: Systems, source: str, path: Path
) -> None:
    """Plot objective and hard-label loss on train, cross-entropy and frame accuracy on dev, of every network.

    Args:
        histories: lines of `history.jsonl` of each network of a group; groups without networks of their own may be
            missing.
        systems: systems of the groups.
        source: name of the corpus, for the title.
        path: path of the PNG file.
    """
    figure = new_figure(9.5, 6.6, "Training", source)
    panels = figure.subplots(2, 2)
    drawn = (
        (panels[0, 0], "objective on train, nats", lambda line: line["train_loss"]),
        (panels[0, 1], "hard-label loss on train, nats", lambda line: line["losses"].get("hard")),
        (panels[1, 0], "cross-entropy on dev, nats", lambda line: line["dev_cross_entropy"]),
        (panels[1, 1], "frame accuracy on dev, %", _dev_accuracy),
    )
    groups = [group for group in coloured(systems).groups if histories.get(group.name)]
    handles: dict[str, Any] = {}
    # Members of combined systems first, as thin lines, and the first group last, on top of the others.
    below = [group for group in groups if systems.is_combined(group)]
    for group in (*below, *(group for group in reversed(groups) if group not in below)):
        style = {"linewidth": 0.8, "alpha": 0.55} if systems.is_combined(group) else {"linewidth": 1.6}
        for history in histories[group.name]:
            for axes, _, of_line in drawn:
                points = [(line["epoch"], of_line(line)) for line in history]
                epochs, values = _thinned([(epoch, value) for epoch, value in points if value is not None])
                marker = "o" if len(epochs) < 30 else None
                (line,) = axes.plot(epochs, values, color=group.colour, marker=marker, markersize=3, **style)
                handles[group.name] = line
    for axes, label, _ in drawn:
        axes.set_ylabel(label, fontsize=9)
        axes.set_xlabel("epoch", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    figure.legend(
        [handles[group.name] for group in groups],
        [group.networks_label for group in groups],
        loc="outside lower center",
        ncols=3,
        fontsize=9,
        frameon=False,
    )
    save_figure(figure, path)


def _dev_accuracy(line: Mapping[str, Any]) -> float | None:
    accuracy: float | None = line["dev_accuracy"]
    return None if accuracy is None else 100 * accuracy


def _thinned(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """At most `_POINTS` points, each the mean of neighbouring ones."""
    group = max(1, math.ceil(len(points) / _POINTS))
    groups = [points[start : start + group] for start in range(0, len(points), group)]
    return (
        [float(np.mean([epoch for epoch, _ in part])) for part in groups],
        [float(np.mean([value for _, value in part])) for part in groups],
    )


def plot_dev_grid(choices: Mapping[str, Mapping[str, Any]], source: str, path: Path) -> None:
    """Plot dev WER over acoustic scale and insertion penalty, one panel per group; a frame marks the chosen pair.

    Args:
        choices: by label of the group, {"acoustic_scale", "insertion_penalty", "grid": [{"acoustic_scale",
            "insertion_penalty", "dev_wer"}, ...]}.
        source: name of the corpus, for the title.
        path: path of the PNG file.
    """
    names = list(choices)
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    scales, penalties = (
        sorted({cell[axis] for name in names for cell in choices[name]["grid"]})
        for axis in ("acoustic_scale", "insertion_penalty")
    )
    width = columns * (1.0 + 0.42 * max(3, len(scales))) + 0.8
    height = rows * (1.1 + 0.36 * max(2, len(penalties))) + 1.0
    figure = new_figure(max(5.5, width), height, "Dev WER, %", source)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    wers = [cell["dev_wer"] for name in names for cell in choices[name]["grid"]]
    low, high = (100 * min(wers), 100 * max(wers)) if wers else (0.0, 1.0)
    for axes, name in zip(panels, names, strict=False):
        table = np.full((len(penalties), len(scales)), np.nan)
        for cell in choices[name]["grid"]:
            table[penalties.index(cell["insertion_penalty"]), scales.index(cell["acoustic_scale"])] = (
                100 * cell["dev_wer"]
            )
        axes.imshow(table, cmap="viridis_r", vmin=low, vmax=high, aspect="auto", origin="lower")
        for (row, column), value in np.ndenumerate(table):
            if not math.isnan(value):
                colour = "white" if value > low + 0.5 * (high - low) else "black"
                axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=7, color=colour)
        chosen = (choices[name]["acoustic_scale"], choices[name]["insertion_penalty"])
        if chosen[0] in scales and chosen[1] in penalties:
            column, row = scales.index(chosen[0]), penalties.index(chosen[1])
            axes.add_patch(_frame(column, row))
        axes.set_title(name, fontsize=9)
        axes.set_xticks(range(len(scales)), [f"{scale:g}" for scale in scales], fontsize=7)
        axes.set_yticks(range(len(penalties)), [f"{penalty:g}" for penalty in penalties], fontsize=7)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("acoustic scale (framed: the chosen pair)", fontsize=9)
    figure.supylabel("insertion penalty", fontsize=9)
    save_figure(figure, path)


def _frame(column: int, row: int) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=2.5, zorder=3)
