"""The page's section on what a student inherits: matched filters, responses, and likeness of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.reporting.filters_figures import QUESTIONS
from kd_asr.reporting.filters_page import (
    KIND_LABELS,
    MEASURE_LABELS,
    accuracy_table,
    answer,
    likeness_table,
    measure_label,
    test_table,
)
from kd_asr.reporting.filters_plots import COLOURS, RELATIONS, places
from kd_asr.reporting.page.markup import Html, element, table_element
from kd_asr.reporting.page.plots import DASHES, SYMBOLS, Plot, axis
from kd_asr.reporting.page.shell import paragraphs, plots_element

Figures = Mapping[str, Any]
SECTION = ("filters", "What a student inherits")


def filters_content(figures: Figures, folder: Path) -> tuple[list[Html], list[Plot]]:
    """Content of the section, and its plots.

    Args:
        figures: content of `filters.json`.
        folder: of the report, in which the PNG files are already.
    """
    first = [_matched_plot(figures), *_responses_plots(figures)]
    first += [_profile_plot(figures, name) for name in ("height", "width")]
    training = [_training_plot(figures, number, measure) for number, measure in _over_training(figures)]
    tests, layers = _tests_plot(figures), _layers_plots(figures)
    inside = [
        element("p", figures["about"]),
        element("div", *paragraphs(answer(figures)), class_="verdict"),
        table_element(likeness_table(figures), "How alike students and teachers are, mean over seeds"),
        plots_element([tests], folder),
        *(table_element(test_table(figures, name), label) for name, label in QUESTIONS.items()),
        table_element(accuracy_table(figures), "Networks"),
        element("h3", "First layers"),
        plots_element(first, folder),
        element("h3", "Layers over training"),
        plots_element([*training, *layers], folder),
        element("p", "More: ", element("a", "every comparison (CSV)", href="filters-likenesses.csv")),
    ]
    return inside, [tests, *first, *training, *layers]


def _over_training(figures: Figures) -> list[tuple[int, str]]:
    """The measures that are taken at every moment, with their numbers."""
    complete = [one for one in figures["measures"] if all(figures["curves"][one]["hard"]["own"])]
    return list(enumerate(complete))


def _matched_plot(figures: Figures) -> Plot:
    """First-layer filters as tiles of one picture: a row for each kind of network, a column for a teacher's filter."""
    pictures, axes = figures["pictures"], figures["axes"]
    of_kind = places(pictures)
    tiles = {kind: np.array(pictures[kind]["filters"], dtype=float) for kind in of_kind}
    if axes["transposed"]:
        tiles = {kind: each.transpose(0, 2, 1)[:, ::-1] for kind, each in tiles.items()}
    count = len(tiles["teacher"])
    height, width = (size + 1 for size in tiles["teacher"].shape[1:])
    picture = np.full((len(of_kind) * height, count * width), np.nan)
    text = np.full(picture.shape, "", dtype=object)
    notes = []
    for row, (kind, numbers) in enumerate(of_kind.items()):
        for column, number in enumerate(numbers):
            if number is None:
                continue
            place = slice(row * height, (row + 1) * height - 1), slice(column * width, (column + 1) * width - 1)
            picture[place] = tiles[kind][number]
            said = f"{KIND_LABELS[kind]}, filter {number + 1}"
            if kind != "teacher":
                alike = pictures[kind]["correlations"][number]
                said += f", correlation {alike:.2f}"
                notes.append(
                    {"x": (column + 0.5) * width - 1, "y": (row + 1) * height - 1, "text": f"{alike:.2f}",
                     "showarrow": False, "font": {"size": 9}}
                )  # fmt: skip
            text[place] = said
    shown = [[None if np.isnan(value) else value for value in line] for line in picture.tolist()]
    data = [
        {
            "type": "heatmap", "z": shown,
            "text": text.tolist(), "zmin": -1, "zmax": 1, "colorscale": "RdBu", "reversescale": True,
            "showscale": False, "hoverongaps": False, "hovertemplate": "%{text}: %{z:.2f}<extra></extra>",
        }
    ]  # fmt: skip
    ticks = [(row + 0.5) * height - 1 for row in range(len(of_kind))]
    labels = [KIND_LABELS[kind].replace(" on ", "<br>on ").replace("d s", "d<br>s") for kind in of_kind]
    layout = {
        "xaxis": {"showticklabels": False, "showgrid": False, "zeroline": False},
        "yaxis": {"autorange": "reversed", "tickvals": ticks, "ticktext": labels, "showgrid": False, "zeroline": False},
        "annotations": notes,
        "margin": {"l": 90, "r": 8, "t": 12, "b": 24},
    }
    alt = "First-layer filters of the first seed: below each of the teacher's filters those of the students that are "
    alt += f"matched to it, with their correlation. Each is drawn {axes['picture']}."
    return Plot("filters-matched", "Matched filters", alt, data, layout, "filters.png", height=300, whole=True)


def _responses_plots(figures: Figures) -> list[Plot]:
    """Mean magnitude of the filters' Fourier transforms, a plot for each kind of network."""
    means = {kind: np.array(one["mean"]) for kind, one in figures["responses"].items()}
    highest = max(float(mean.max()) for mean in means.values())
    plots = []
    for kind, mean in means.items():
        data = [
            {
                "type": "heatmap", "x": figures["frequencies"]["height"], "y": figures["frequencies"]["width"],
                "z": mean.T.round(3).tolist(), "zmin": 0, "zmax": highest, "colorscale": "Viridis",
                "hovertemplate": "%{x:.3g}, %{y:.3g}: %{z:.2f}<extra></extra>",
            }
        ]  # fmt: skip
        layout = {"xaxis": axis(figures["axes"]["height"]), "yaxis": axis(figures["axes"]["width"])}
        alt = "Mean modulation response of the first layer's filters of unit energy, over all seeds: "
        alt += f"{KIND_LABELS[kind]}."
        title = f"Modulation responses: {KIND_LABELS[kind]}"
        plots.append(Plot(f"filters-responses-{kind}", title, alt, data, layout, "filters_responses.png", height=320))
    return plots


def _profile_plot(figures: Figures, name: str) -> Plot:
    """Mean response along one axis, with a thin line for each seed."""
    data: list[dict[str, Any]] = []
    frequencies = figures["frequencies"][name]
    for place, (kind, one) in enumerate(figures["responses"].items()):
        profiles = np.array(one[name])
        line = {"color": COLOURS[kind], "dash": DASHES[place]}
        for profile in profiles:
            data.append(
                {"type": "scatter", "mode": "lines", "x": frequencies, "y": profile.round(4).tolist(), "opacity": 0.35,
                 "line": {**line, "width": 1}, "showlegend": False, "hoverinfo": "skip"}
            )  # fmt: skip
        data.append(
            {"type": "scatter", "mode": "lines", "x": frequencies, "y": profiles.mean(axis=0).round(4).tolist(),
             "line": {**line, "width": 3}, "name": KIND_LABELS[kind], "hovertemplate": "%{x:.3g}: %{y:.2f}"}
        )  # fmt: skip
    layout = {"xaxis": axis(figures["axes"][name]), "yaxis": axis("mean magnitude", rangemode="tozero")}
    alt = f"Mean response of the first layer by {figures['axes'][name]}; thick: mean over seeds, thin: each seed."
    return Plot(f"filters-{name}", f"Response by {figures['axes'][name]}", alt, data, layout, "filters_responses.png")


def _training_plot(figures: Figures, number: int, measure: str) -> Plot:
    """How alike students are to the trained teachers, at each moment of their training."""
    data: list[dict[str, Any]] = []
    moments = [f"{updates:,}" for updates in figures["moments"]]
    for place, (kind, by_relation) in enumerate(figures["curves"][measure].items()):
        for relation, values in by_relation.items():
            means = [float(np.mean(each)) for each in values]
            data.append(
                {
                    "type": "scatter", "mode": "lines+markers", "x": moments,
                    "y": [round(value, 4) for value in means],
                    "name": f"{_SHORT[kind]}, {RELATIONS[relation]}",
                    "line": {"color": COLOURS[kind], "dash": "solid" if relation == "own" else "dot"},
                    "marker": {"symbol": SYMBOLS[place], "size": 8},
                    "text": [" ".join(f"{value:.3f}" for value in each) for each in values],
                    "hovertemplate": "after %{x} updates: %{y:.3f} (seeds: %{text})",
                }
            )  # fmt: skip
    if measure not in MEASURE_LABELS:
        between = round(figures["teachers"][measure], 4)
        data.append(
            {"type": "scatter", "mode": "lines", "x": [moments[0], moments[-1]], "y": [between, between], "name":
             "two teachers", "line": {"color": "#888888", "width": 1}, "hovertemplate": "%{y:.3f}"}
        )  # fmt: skip
    legend = {"orientation": "h", "y": -0.25, "yanchor": "top"}
    layout = {"xaxis": axis("updates", type="category"), "yaxis": axis(measure_label(measure)), "legend": legend}
    alt = f"{measure_label(measure)}: students at each moment of training beside the trained teachers, mean over seeds."
    return Plot(
        f"filters-training-{number}", measure_label(measure), alt, data, layout, "filters_training.png", height=420
    )


def _tests_plot(figures: Figures) -> Plot:
    """Mean differences with their intervals, a mark for each question."""
    data = []
    for number, (question, label) in enumerate(QUESTIONS.items()):
        found = [one for one in figures["comparisons"] if one["question"] == question]
        places = [place + (number - 1.5) * 0.18 for place in range(len(found))]  # one below the other
        means = [one["mean"] for one in found]
        ends = [one["interval"] or [one["mean"]] * 2 for one in found]
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": label, "x": means,
                "y": places,
                "error_x": {
                    "type": "data", "symmetric": False,
                    "array": [high - mean for mean, (_, high) in zip(means, ends, strict=True)],
                    "arrayminus": [mean - low for mean, (low, _) in zip(means, ends, strict=True)],
                },
                "text": [_said(one) for one in found],
                "marker": {"symbol": SYMBOLS[number], "size": 10, "color": _QUESTION_COLOURS[number]},
                "hovertemplate": "%{text}",
            }
        )  # fmt: skip
    layout = {
        "xaxis": axis("difference, with its 95 % interval over seeds", zeroline=True),
        "yaxis": {
            "autorange": "reversed", "zeroline": False, "tickvals": list(range(len(figures["measures"]))),
            "ticktext": [measure_label(one).replace(": ", "<br>") for one in figures["measures"]],
        },
    }  # fmt: skip
    alt = "Paired differences in likeness over seeds with 95 % intervals, by measure and question; right of 0: nearer."
    return Plot("filters-tests", "What is nearer to what", alt, data, layout, height=520, whole=True)


def _said(one: Mapping[str, Any]) -> str:
    return f"{measure_label(one['measure'])}: {one['mean']:+.3f}, p {one['p_value']:.3f}"


_SHORT = {"hard": "hard labels", "distilled": "distilled"}
_QUESTION_COLOURS: Sequence[str] = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def _layers_plots(figures: Figures) -> list[Plot]:
    """Linear CKA of all layers of a teacher and its student, a plot for each kind of student."""
    names = [one.replace(" ", "<br>") for one in figures["measures"] if one not in MEASURE_LABELS]
    plots = []
    for kind, table in figures["layers"].items():
        rounded = [[round(value, 3) for value in row] for row in table]
        data = [
            {
                "type": "heatmap", "x": names, "y": names, "z": rounded, "zmin": 0, "zmax": 1, "colorscale": "Viridis",
                "texttemplate": "%{z:.2f}",
                "hovertemplate": "student %{x}, teacher %{y}: %{z:.3f}<extra></extra>",
            }
        ]  # fmt: skip
        layout = {"xaxis": axis("student", type="category"), "yaxis": axis("teacher", type="category")}
        alt = "Linear CKA of every layer of a student with every layer of its teacher after training, mean over seeds: "
        alt += f"{KIND_LABELS[kind]}."
        plots.append(Plot(f"filters-layers-{kind}", f"All layers: {KIND_LABELS[kind]}", alt, data, layout, height=340))
    return plots
