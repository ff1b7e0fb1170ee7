"""The page of a run on digits: verdict, table, dark knowledge at any temperature, and errors as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_asr.jobs.systems import Systems
from kd_asr.reporting.banner import banner
from kd_asr.reporting.mnist_page import Report, main_table, summary, systems_of, temperature_sentences
from kd_asr.reporting.page.filters import SECTION, filters_content
from kd_asr.reporting.page.markup import Html, element, joined, table_element
from kd_asr.reporting.page.plots import DASHES, SYMBOLS, Plot, axis, group_trace
from kd_asr.reporting.page.posteriors import packed
from kd_asr.reporting.page.shell import paragraphs, plots_element, write_shell
from kd_asr.reporting.palette import coloured
from kd_asr.reporting.tables import count

MOST_MISTAKES = 60


@dataclass(frozen=True)
class DarkKnowledge:
    """Training images with the first teacher's log-posteriors.

    Attributes:
        images: (digits, side, side) uint8.
        labels: Label of each.
        log_posteriors: (digits, 10) natural logarithms at temperature 1.
        sure: Whether the teacher is surest of it among the images of its digit, or least sure of those it gets right.
    """

    images: NDArray[np.uint8]
    labels: tuple[int, ...]
    log_posteriors: NDArray[np.float32]
    sure: tuple[bool, ...]


@dataclass(frozen=True)
class Mistakes:
    """Test images that some system gets wrong, those of most systems first.

    Attributes:
        images: (images, side, side) uint8, at most `MOST_MISTAKES`.
        labels: Label of each.
        shares: By group, the share of its systems that get each image wrong.
        total: Test images that some system gets wrong.
    """

    images: NDArray[np.uint8]
    labels: tuple[int, ...]
    shares: Mapping[str, tuple[float, ...]]
    total: int


def mistakes_of(
    systems: Systems, wrong: NDArray[np.bool_], images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> Mistakes:
    """The images that most systems get wrong; `wrong` is (systems, images) in the order of the systems."""
    by_group = {
        group.name: wrong[[number for number, one in enumerate(systems.systems) if one.group == group.name]].mean(
            axis=0
        )
        for group in systems.groups
    }
    order = np.argsort(-sum(by_group.values(), np.zeros(wrong.shape[1])), kind="stable")
    total = int(wrong.any(axis=0).sum())
    chosen = order[: min(MOST_MISTAKES, total)]
    return Mistakes(
        images[chosen],
        tuple(int(label) for label in labels[chosen]),
        {name: tuple(float(share) for share in shares[chosen]) for name, shares in by_group.items()},
        total,
    )


def write_digits_page(folder: Path, report: Report, dark: DarkKnowledge | None, mistakes: Mistakes | None) -> None:
    """Write `index.html` and what it needs beside it.

    Args:
        folder: of the report, in which the PNG files are already.
        report: what `report.json` holds.
        dark: digits with soft targets; None: there is no teacher.
        mistakes: of the systems of the table; None: there is no table.
    """
    plots: list[Plot] = []
    sections: list[tuple[str, str, Sequence[Html]]] = []
    pictures: list[str] = []
    groups: list[dict[str, str]] = []
    warning = banner(report["preset"])
    lead = [
        *paragraphs([warning] if warning else [], class_="banner", role="note"),
        element("p", f"{report['description']} Preset {report['preset']}, seed {report['seed']}.", class_="about"),
    ]
    if "table" in report:
        systems = coloured(systems_of(report))
        groups = [{"label": group.label, "colour": group.colour} for group in systems.groups]
        plots.append(_errors_plot(report, systems))
        inside = [
            element("div", *paragraphs([summary(report)]), class_="verdict"),
            table_element(main_table(report), "Errors on test"),
            element("fieldset", element("legend", "Systems shown"), id="systems"),
            plots_element(plots[-1:], folder),
        ]
        sections.append(("verdict", "Verdict", inside))
    if dark is not None:
        pictures += [packed(one) for one in dark.images]
        sections.append(("dark", "Dark knowledge", _dark_section(dark)))
    if mistakes is not None and mistakes.total:
        first = len(pictures)
        pictures += [packed(one) for one in mistakes.images]
        sections.append(("mistakes", "Errors as pictures", _mistakes_section(mistakes, systems_of(report), first)))
    if "temperature" in report:
        plots.append(_temperature_plot(report))
        said = paragraphs([sentence.removeprefix("- ") for sentence in temperature_sentences(report)])
        sections.append(("temperature-section", "Temperature and width", [plots_element(plots[-1:], folder), *said]))
    if "filters" in report:
        inside, drawn = filters_content(report["filters"], folder)
        plots += drawn
        sections.append((*SECTION, inside))
    names = ("report.md", "report.json")
    sections.append(("more", "More", [element("ul", *(element("li", element("a", one, href=one)) for one in names))]))
    targets = [] if dark is None else [
        {"picture": number, "label": label, "logs": [round(float(value), 4) for value in logs]}
        for number, (label, logs) in enumerate(zip(dark.labels, np.maximum(dark.log_posteriors, -100), strict=True))
    ]  # fmt: skip
    shown = [one for one in (dark, mistakes) if one is not None]
    digits = {"side": int(shown[0].images.shape[1]), "pictures": pictures, "targets": targets} if shown else None
    data = {"groups": groups, "digits": digits}
    write_shell(folder, title=report["title"], lead=lead, sections=sections, data=data, plots=plots)


def _picture(number: int, alt: str) -> Html:
    return element("canvas", data_picture=number, role="img", aria_label=alt)


def _dark_section(dark: DarkKnowledge) -> list[Html]:
    said = "Of each digit, the training image that the first teacher is surest of, and the one that it gets right but "
    said += "is least sure of. At T = 1 the wrong digits are far below the label; softened, they show what the image "
    said += "resembles."
    figures = []
    for number, (label, sure) in enumerate(zip(dark.labels, dark.sure, strict=True)):
        kind = "sure" if sure else "doubtful"
        drawn = element(
            "div", id=f"targets-{number}", class_="plot", role="group",
            aria_label=f"Soft targets of a {kind} {label}, on a log axis",
        )  # fmt: skip
        picture = _picture(number, f"A {label}, {kind}")
        figures.append(element("figure", picture, drawn, element("figcaption", f"{label}, {kind}"), class_="digit"))
    slider = element("input", type="range", id="temperature", min=0, max=6, step=0.05, value=0)
    named = element("label", "Temperature", for_="temperature")
    return [
        element("p", said),
        element("p", named, slider, element("output", id="temperature-said", for_="temperature"), class_="slider"),
        element("div", joined(figures), class_="digits"),
    ]


def _mistakes_section(mistakes: Mistakes, systems: Systems, first: int) -> list[Html]:
    items = []
    for place, label in enumerate(mistakes.labels):
        said = ", ".join(
            f"{group.label} {100 * mistakes.shares[group.name][place]:.0f} %"
            for group in systems.groups
            if mistakes.shares[group.name][place]
        )
        items.append(element("li", _picture(first + place, f"A {label}"), element("div", f"{label}: {said}")))
    text = f"{count(len(items))} of {count(mistakes.total)} test images that some system gets wrong, with their label "
    text += "and the share of each row's networks that are wrong; those that most get wrong come first."
    return [element("p", text), element("ul", joined(items), class_="pictures")]


def _errors_plot(report: Report, systems: Systems) -> Plot:
    """Errors on test of each group, and of its single runs."""
    data = []
    for number, group in enumerate(systems.groups):
        found = report["table"]["systems"][group.name]
        values, mean, ends = found["values"], found["mean"], found["interval"]
        error = None if ends is None else {
            "type": "data", "symmetric": False, "array": [ends[1] - mean], "arrayminus": [mean - ends[0]],
        }  # fmt: skip
        marker = {"color": group.colour, "symbol": SYMBOLS[number % len(SYMBOLS)]}
        large = {**marker, "size": 12}
        small = {**marker, "size": 6}
        fields = {"type": "scatter", "mode": "markers", "hovertemplate": "%{y:.1f} errors"}
        bars = {"error_y": error} if error else {}
        data.append(group_trace(systems, group, x=[group.label], y=[mean], marker=large, **bars, **fields))
        data.append(
            group_trace(
                systems, group, x=[group.label] * len(values), y=values, marker=small, opacity=0.45, showlegend=False,
                **fields,
            )
        )  # fmt: skip
    layout = {
        "showlegend": False,
        "xaxis": axis("", type="category"),
        "yaxis": axis(f"errors of {count(report['table']['test'])}"),
    }
    alt = "Test errors of each system, mean with 95 % interval over seeds; small: single networks."
    return Plot("errors", "Test errors", alt, data, layout, "table.png", whole=True)


def _temperature_plot(report: Report) -> Plot:
    """Mean dev errors over the temperature, a curve for each width."""
    figures = report["temperature"]
    data = [
        {
            "type": "scatter", "mode": "lines+markers", "name": f"{width} units", "x": figures["temperatures"],
            "y": line, "line": {"dash": DASHES[number % len(DASHES)]},
            "marker": {"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 8},
            "hovertemplate": "T = %{x:g}: %{y:.1f} errors",
        }
        for number, (width, line) in enumerate(zip(figures["widths"], figures["errors"], strict=True))
    ]  # fmt: skip
    layout: dict[str, Any] = {
        "xaxis": axis("temperature, log scale", type="log"),
        "yaxis": axis(f"errors of {count(figures['dev'])} dev images, log scale", type="log"),
    }
    alt = "Mean errors on dev of students of several widths over the temperature."
    return Plot("temperatures", "Dev errors by width and temperature", alt, data, layout, "temperature.png", whole=True)
