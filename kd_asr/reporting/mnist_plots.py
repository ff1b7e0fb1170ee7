"""Plots of an MNIST run. Each has the source of the digits in its title, since it may be shown by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from kd_asr.reporting.mnist_page import Report, systems_of
from kd_asr.reporting.palette import coloured
from kd_asr.reporting.plots import new_figure, save_figure
from kd_asr.reporting.tables import in_lines

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_BLUE, _ORANGE, _GREEN, _PINK, _GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#888888"
TEMPERATURES = (1.0, 4.0, 20.0)


def plot_table(report: Report, path: Path) -> None:
    """Plot test errors of every repetition, their mean with its interval, and the paper's figures."""
    figure = new_figure(max(8.0, 1.6 * len(systems_of(report).groups)), 4.4, "Test errors", report["label"])
    axes = figure.subplots()
    groups = coloured(systems_of(report)).groups
    for position, group in enumerate(groups):
        one = report["table"]["systems"][group.name]
        axes.plot(
            [position - 0.15] * len(one["values"]), one["values"], "o", color=group.colour, alpha=0.4, markersize=5
        )
        whiskers = None
        if one["interval"] is not None:
            whiskers = [[one["mean"] - one["interval"][0]], [one["interval"][1] - one["mean"]]]
        axes.errorbar(position, one["mean"], yerr=whiskers, fmt="o", color=group.colour, capsize=5, markersize=8)
        axes.annotate(f"{one['mean']:.1f}", (position, one["mean"]), (9, 4), textcoords="offset points", fontsize=9)
        if report["comparable"] and group.name in report["paper"]["table"]:
            axes.plot(position + 0.22, report["paper"]["table"][group.name], "D", color="black", markersize=6)
    if report["comparable"]:
        axes.plot([], [], "D", color="black", markersize=6, label="the paper's")
    axes.plot([], [], "o", color=_GREY, markersize=8, label="mean, 95 % interval over seeds")
    axes.plot([], [], "o", color=_GREY, alpha=0.4, markersize=5, label="each network")
    axes.set_xticks(range(len(groups)), [in_lines(group.label) for group in groups])
    axes.set_xlim(-0.5, len(groups) - 0.3)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"errors of {report['table']['test']:,}")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=9)
    save_figure(figure, path)


def plot_temperature(report: Report, path: Path) -> None:
    """Draw a heat map of dev errors relative to the best temperature of each width, with the figures in it."""
    figures = report["temperature"]
    errors = np.array(figures["errors"], dtype=float)
    title = f"Errors of {figures['dev']:,} dev images by width and temperature"
    figure = new_figure(8.0, 1.7 + 0.6 * len(errors), title, report["label"])
    axes = figure.subplots()
    excess = 100 * (errors / errors.min(axis=1, keepdims=True).clip(1) - 1)
    shown = axes.imshow(excess, cmap="viridis_r", aspect="auto", vmin=0, vmax=max(1.0, float(excess.max())))
    for (row, column), value in np.ndenumerate(errors):
        colour = "white" if excess[row, column] > 0.5 * excess.max() else "black"
        axes.text(column, row, f"{value:.4g}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(figures["temperatures"])), [f"{t:g}" for t in figures["temperatures"]])
    axes.set_yticks(range(len(figures["widths"])), [str(width) for width in figures["widths"]])
    axes.set_xlabel("temperature")
    axes.set_ylabel("units per hidden layer")
    figure.colorbar(shown, ax=axes, label="% above the row's best")
    save_figure(figure, path)


def plot_transfer(report: Report, experiment: str, path: Path) -> None:
    """Plot errors before and after the corrections, on seen and unseen digits."""
    figures = report[experiment]
    seen = ", ".join(map(str, figures["seen"]))
    figure = new_figure(8.0, 4.4, f"Transfer set with the digits {seen} only", report["label"])
    axes = figure.subplots()
    names = {
        "before": "as trained",
        "corrected_on_dev": "bias fitted on dev",
        "corrected_on_test": "bias fitted on test\n(no result)",
    }
    for position, stage in enumerate(names):
        unseen = figures["stages"][stage]["errors_on_unseen"]["mean"]
        everything = figures["stages"][stage]["errors"]["mean"]
        alpha = 0.5 if stage == "corrected_on_test" else 1.0
        labels = ("on unseen digits", "on seen digits") if position == 0 else (None, None)
        axes.bar(position, unseen, color=_ORANGE, width=0.6, alpha=alpha, label=labels[0])
        axes.bar(position, everything - unseen, bottom=unseen, color=_BLUE, width=0.6, alpha=alpha, label=labels[1])
        axes.annotate(
            f"{everything:,.1f}", (position, everything), (0, 3), textcoords="offset points", ha="center", fontsize=9
        )
    if report["comparable"]:
        paper = report["paper"][experiment]
        for position, key in enumerate(("before", "after")):
            axes.plot(position + 0.36, paper[key], "D", color="black", label=None if position else "the paper's")
    axes.set_xticks(range(len(names)), list(names.values()))
    axes.set_ylabel(f"errors of {figures['test']:,}")
    axes.margins(y=0.12)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    save_figure(figure, path)


def plot_losses(report: Report, path: Path) -> None:
    """Plot dev errors and cross-entropy of the students of each loss."""
    figure = new_figure(9.0, 3.8, "Losses against the same teacher at equal budget", report["label"])
    panels = figure.subplots(1, 2, sharey=True)
    losses = report["losses"]["losses"]
    drawn = (("dev_errors", f"errors of {report['losses']['dev']:,} dev images"), ("dev_cross_entropy", "nats on dev"))
    for axes, (key, label) in zip(panels, drawn, strict=True):
        for position, one in enumerate(losses.values()):
            axes.plot(one[key]["values"], [position] * len(one[key]["values"]), "o", color=_BLUE, alpha=0.4)
            axes.plot(one[key]["mean"], position, "|", color=_BLUE, markersize=22, markeredgewidth=2.5)
        axes.set_yticks(range(len(losses)), [one["label"] for one in losses.values()])
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x", alpha=0.3)
        axes.margins(x=0.1, y=0.2)
    panels[0].invert_yaxis()
    figure.supxlabel("points: students; lines: their mean", fontsize=8)
    save_figure(figure, path)


def plot_limit(report: Report, path: Path) -> None:
    """Plot the convergence of the gradient of T^2 times the soft loss to (z - v) / N."""
    figure = new_figure(6.5, 4.2, "The limit of high temperature", report["label"])
    axes = figure.subplots()
    limit = report["losses"]["limit"]
    temperatures = [one["temperature"] for one in limit]
    axes.loglog(temperatures, [one["relative_difference"] for one in limit], "o-", color=_BLUE)
    axes.set_xlabel("temperature")
    axes.set_ylabel("|gradient of T² soft loss - (z - v)/N| / |(z - v)/N|", fontsize=9)
    axes.grid(alpha=0.3, which="both")
    save_figure(figure, path)


def plot_dark_knowledge(
    images: np.ndarray, labels: Sequence[int], soft_targets: Mapping[float, np.ndarray], label: str, path: Path
) -> None:
    """Plot digits with the teacher's soft targets at several temperatures.

    Args:
        images: (digits, side, side) uint8.
        labels: labels of the digits.
        soft_targets: (digits, 10) probabilities by temperature.
        label: source of the digits, for the title.
        path: path of the PNG file.
    """
    rows = len(images)
    figure = new_figure(8.0, 0.85 * rows + 1.0, "Dark knowledge: the teacher's soft targets", label)
    panels = figure.subplots(
        rows, 1 + len(soft_targets), squeeze=False, gridspec_kw={"width_ratios": [1] + [3] * len(soft_targets)}
    )
    for row in range(rows):
        panels[row, 0].imshow(images[row], cmap="gray_r", vmin=0, vmax=255)
        panels[row, 0].set_axis_off()
        for axes, (temperature, probs) in zip(panels[row, 1:], soft_targets.items(), strict=True):
            colours = [_GREEN if digit == labels[row] else _PINK for digit in range(10)]
            axes.bar(range(10), probs[row], color=colours)
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 1], ["0", "1"], fontsize=6)
            axes.set_xticks(range(10), map(str, range(10)), fontsize=7)
            axes.spines[["top", "right"]].set_visible(False)
            if row == 0:
                axes.set_title(f"T = {temperature:g}", fontsize=10)
    figure.supxlabel("green: the label; the height of a bar is its probability", fontsize=8)
    save_figure(figure, path)


def pictures(report: Report, folder: Path, digits: Mapping[str, Any] | None) -> None:
    """Draw all plots that the report has figures for; `digits` are arguments of `plot_dark_knowledge`."""
    if "table" in report:
        plot_table(report, folder / "table.png")
    if "temperature" in report:
        plot_temperature(report, folder / "temperature.png")
    for experiment in ("omit3", "only78"):
        if experiment in report:
            plot_transfer(report, experiment, folder / f"{experiment}.png")
    if "losses" in report:
        plot_losses(report, folder / "losses.png")
        plot_limit(report, folder / "high_temperature.png")
    if digits is not None:
        plot_dark_knowledge(**digits, label=report["label"], path=folder / "dark_knowledge.png")
