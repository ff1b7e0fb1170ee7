"""Pictures of the experiment `filters`: matched filters, responses, and likeness over training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from kd_asr.reporting.filters_page import KIND_LABELS, MEASURE_LABELS, Figures, measure_label
from kd_asr.reporting.plots import new_figure, save_figure

# Okabe and Ito's colours, and the style of each relation.
COLOURS = {"teacher": "#E69F00", "hard": "#0072B2", "distilled": "#009E73"}
STYLES = {"own": "-", "other": ":"}
RELATIONS = {"own": "own teacher", "other": "other teachers"}


def plot_filters(figures: Figures, folder: Path) -> None:
    """Write `filters.png`, `filters_responses.png` and `filters_training.png`."""
    _matched(figures, folder / "filters.png")
    _responses(figures, folder / "filters_responses.png")
    _training(figures, folder / "filters_training.png")


def places(pictures: dict[str, Any]) -> dict[str, list[int | None]]:
    """For each filter of the teacher, in order, the number of the one that each kind of network has for it."""
    count = len(pictures["teacher"]["filters"])
    found: dict[str, list[int | None]] = {"teacher": list(range(count))}
    for kind in ("hard", "distilled"):
        of = {column: number for number, column in enumerate(pictures[kind]["matched"])}
        found[kind] = [of.get(column) for column in range(count)]
    return found


def _matched(figures: Figures, path: Path) -> None:
    pictures = figures["pictures"]
    of_kind = places(pictures)
    count = len(of_kind["teacher"])
    figure = new_figure(max(8.0, 0.72 * count), 4.6, "First-layer filters of the first seed, matched", figures["label"])
    grid = figure.subplots(3, count, squeeze=False)
    for row, (kind, numbers) in enumerate(of_kind.items()):
        for column, number in enumerate(numbers):
            axes = grid[row, column]
            axes.set_xticks([])
            axes.set_yticks([])
            if number is None:
                axes.axis("off")
                continue
            # Time runs to the right on speech, as in a spectrogram; images stand as they are.
            axes.imshow(_upright(pictures[kind]["filters"][number], figures), cmap="RdBu_r", vmin=-1, vmax=1)
            if kind != "teacher":
                axes.set_xlabel(f"{pictures[kind]['correlations'][number]:.2f}", fontsize=8)
        title = grid[row, 0].text(
            0, 1.12, KIND_LABELS[kind], transform=grid[row, 0].transAxes, fontsize=9, color=COLOURS[kind],
            fontweight="bold",
        )  # fmt: skip
        title.set_in_layout(False)  # it may reach over the columns
    figure.supxlabel(f"{figures['axes']['picture']}; below: correlation with the teacher's filter above", fontsize=8)
    save_figure(figure, path)


def _upright(filter_: Any, figures: Figures) -> Any:
    return np.array(filter_).T[::-1] if figures["axes"]["transposed"] else np.array(filter_)


def _responses(figures: Figures, path: Path) -> None:
    axes_of, frequencies = figures["axes"], figures["frequencies"]
    means = {kind: np.array(one["mean"]) for kind, one in figures["responses"].items()}
    figure = new_figure(11.0, 6.6, "Mean modulation responses of first-layer filters", figures["label"])
    grid = figure.subplots(2, len(means), squeeze=False)
    highest = max(float(mean.max()) for mean in means.values())
    extent = (frequencies["height"][0], frequencies["height"][-1], frequencies["width"][0], frequencies["width"][-1])
    for column, (kind, mean) in enumerate(means.items()):
        axes = grid[0, column]
        shown = axes.imshow(mean.T, origin="lower", aspect="auto", extent=extent, cmap="viridis", vmin=0, vmax=highest)
        axes.set_title(KIND_LABELS[kind], fontsize=10)
        axes.set_xlabel(axes_of["height"], fontsize=8)
        axes.set_ylabel(axes_of["width"] if column == 0 else "", fontsize=8)
    figure.colorbar(shown, ax=list(grid[0]), label="magnitude")
    for axes, name in zip(grid[1], ("height", "width"), strict=False):
        _profile(axes, figures, name)
    for axes in grid[1, 2:]:
        axes.axis("off")
    save_figure(figure, path)


def _profile(axes: Axes, figures: Figures, name: str) -> None:
    """Mean response along one axis, a thin line for each seed."""
    for kind, one in figures["responses"].items():
        profiles = np.array(one[name])
        for profile in profiles:
            axes.plot(figures["frequencies"][name], profile, color=COLOURS[kind], linewidth=0.6, alpha=0.5)
        axes.plot(figures["frequencies"][name], profiles.mean(axis=0), color=COLOURS[kind], label=KIND_LABELS[kind])
    axes.set_xlabel(figures["axes"][name], fontsize=8)
    axes.set_ylabel("mean magnitude", fontsize=8)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _training(figures: Figures, path: Path) -> None:
    moments = figures["moments"]
    drawn = [one for one in figures["measures"] if all(figures["curves"][one]["hard"]["own"])]
    columns = 3
    rows = -(-len(drawn) // columns)
    figure = new_figure(11.0, 0.8 + 3.0 * rows, "Likeness to the trained teacher over training", figures["label"])
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(drawn):]:
        axes.axis("off")
    for axes, measure in zip(grid.flat, drawn, strict=False):
        for kind, by_relation in figures["curves"][measure].items():
            for relation, values in by_relation.items():
                label = f"{KIND_LABELS[kind]}, {RELATIONS[relation]}"
                style = STYLES[relation]
                means = [float(np.mean(each)) for each in values]
                axes.plot(range(len(moments)), means, style, color=COLOURS[kind], label=label, marker="o", markersize=3)
        if measure not in MEASURE_LABELS:
            axes.axhline(figures["teachers"][measure], color="#888888", linewidth=0.8, label="two teachers")
        axes.set_title(measure_label(measure), fontsize=9)
        axes.set_xticks(range(len(moments)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{moments[round(place)]}"))
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    grid[0, 0].legend(fontsize=6)
    figure.supxlabel("updates", fontsize=9)
    save_figure(figure, path)
