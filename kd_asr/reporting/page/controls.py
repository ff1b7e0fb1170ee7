"""Plots of what the students' figures come from: number of teachers, size, unlabelled audio, temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kd_asr.jobs.systems import Group, Systems
from kd_asr.reporting.contents import Report, systems_of
from kd_asr.reporting.controls import sizes_compared
from kd_asr.reporting.page.plots import DASHES, SYMBOLS, Plot, axis, in_plotly, number_of
from kd_asr.reporting.palette import coloured


def control_plots(report: Report) -> list[Plot]:
    """As many of them as the report has figures for."""
    systems, controls = coloured(systems_of(report)), report["controls"]
    plots = []
    if systems.teacher is not None and len(controls["ensemble_sizes"]) > 1:
        plots.append(_teachers(controls["ensemble_sizes"], systems, systems.teacher))
    if controls["unlabelled_shares"]:
        plots.append(_unlabelled(controls["unlabelled_shares"], systems.students[0]))
    if sizes_compared(systems):
        plots += [
            _sizes(report, systems, *measure) for measure in (("frame_accuracy", "Frame accuracy"), ("wer", "WER"))
        ]
    if report["sweep"]:
        plots.append(_sweep(report["sweep"]))
    return plots


def _curve(
    name: str, places: Sequence[float], values: Sequence[Sequence[float]], number: int, **fields: Any
) -> list[dict[str, Any]]:
    """A line through the means in percent, and a small mark for each value; `number` tells curves apart."""
    means = [100 * sum(one) / len(one) for one in values]
    line = {"dash": DASHES[number % len(DASHES)], **fields.pop("line", {})}
    symbol = SYMBOLS[number % len(SYMBOLS)]
    each = [(place, 100 * value) for place, several in zip(places, values, strict=True) for value in several]
    shared = {"type": "scatter", "name": in_plotly(name), "legendgroup": name, **fields}
    drawn = {
        "x": list(places),
        "y": means,
        "mode": "lines+markers",
        "line": line,
        "marker": {"symbol": symbol, "size": 9},
    }
    dots = {
        "x": [place for place, _ in each], "y": [value for _, value in each], "mode": "markers", "opacity": 0.5,
        "marker": {"symbol": symbol, "size": 5, **({"color": line["color"]} if "color" in line else {})},
        "showlegend": False, "hovertemplate": "%{x}: %{y:.2f} %",
    }  # fmt: skip
    return [{**shared, **drawn, "hovertemplate": "%{x}: mean %{y:.2f} %"}, {**shared, **dots}]


def _teachers(rows: Sequence[dict[str, Any]], systems: Systems, teacher: Group) -> Plot:
    members = [row["members"] for row in rows]
    data: list[dict[str, Any]] = []
    for number, set_name in enumerate(("dev", "test")):
        meta = {"group": number_of(systems)[teacher.name]}
        line = {"color": teacher.colour}
        data += _curve(set_name, members, [row[set_name] for row in rows], number, line=line, meta=meta)
    layout = {"xaxis": axis("networks in the ensemble", tickvals=members), "yaxis": axis("frame accuracy, %")}
    alt = "Frame accuracy of ensembles by their number of networks, on dev and test; small: ensembles alone."
    return Plot("teachers", "Ensembles by number of networks", alt, data, layout, "teachers.png")


def _unlabelled(rows: Sequence[dict[str, Any]], student: Group) -> Plot:
    minutes, values = [row["minutes"] for row in rows], [row["dev_frame_accuracy"] for row in rows]
    data = _curve(student.label, minutes, values, 0, line={"color": student.colour})
    layout = {"xaxis": axis("minutes of unlabelled audio"), "yaxis": axis("frame accuracy on dev, %")}
    alt = "Frame accuracy of students on dev by the amount of unlabelled audio; small: single students."
    return Plot("unlabelled", "Students by unlabelled audio", alt, data, layout, "unlabelled.png")


def _sizes(report: Report, systems: Systems, measure: str, title: str) -> Plot:
    pairs, numbers = sizes_compared(systems), number_of(systems)
    networks = report["figures"]["networks"]
    data: list[dict[str, Any]] = []
    for side, largest in enumerate(pairs[0]):
        groups = [pair[side] for pair in pairs]
        sizes = [report["sizes"][group.name]["parameters"] for group in groups]
        values = [[one["test"][measure] for one in networks[group.name].values()] for group in groups]
        colour = systems.group(largest.name).colour
        meta = {"group": numbers[largest.name]}
        data += _curve(largest.label, sizes, values, side, line={"color": colour}, meta=meta)
    layout = {"xaxis": axis("parameters, log scale", type="log"), "yaxis": axis("%")}
    alt = f"{title} on test of students and of networks like them on hard labels, by number of parameters."
    return Plot(f"sizes-{measure}", f"{title} by size", alt, data, layout, "sizes.png")


def _sweep(rows: Sequence[dict[str, Any]]) -> Plot:
    """A curve over the temperature for each hard weight, and share of labelled audio where several were tried."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        share = f", labelled share {row['labelled_share']:g}" if "labelled_share" in row else ""
        curves.setdefault(f"hard weight {row['hard_weight']:g}{share}", []).append(row)
    data: list[dict[str, Any]] = []
    for number, (name, several) in enumerate(curves.items()):
        ordered = sorted(several, key=lambda row: row["temperature"])
        values = [[row["dev_frame_accuracy"]] for row in ordered]
        data += _curve(name, [row["temperature"] for row in ordered], values, number)[:1]
    layout = {"xaxis": axis("temperature, log scale", type="log"), "yaxis": axis("frame accuracy on dev, %")}
    alt = "Frame accuracy of students on dev over the temperature, a curve for each weight of the hard labels."
    return Plot("sweep", "Temperatures and weights tried", alt, data, layout)
