"""Interactive plots as plain figures of plotly: `data` and `layout`, drawn by the page's script in its own colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kd_asr.corpora.manifest import SETS
from kd_asr.jobs.systems import Group, Systems
from kd_asr.reporting.contents import Report, systems_of
from kd_asr.reporting.figures import comparison_key
from kd_asr.reporting.page.errors import ByClass
from kd_asr.reporting.page.markup import Html, element
from kd_asr.reporting.page.posteriors import Confusions
from kd_asr.reporting.palette import coloured
from kd_asr.reporting.tables import percent

# Beside its colour each group has a symbol.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "hexagon")
_MOST_POINTS = 200  # of a curve


@dataclass(frozen=True)
class Plot:
    """A plot of the page.

    Attributes:
        name: Unique name on the page.
        title: Heading.
        alt: What it shows, for those who do not see it.
        data: Traces; `group` in `meta` is the number of the group that switches a trace off.
        layout: Axes.
        picture: File of the same plot as PNG, in the folder of the report; empty: none.
        height: Pixels.
        whole: Whether it takes the whole width of the page.
    """

    name: str
    title: str
    alt: str
    data: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    picture: str = ""
    height: int = 360
    whole: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        """What the script draws."""
        return {"name": self.name, "data": self.data, "layout": self.layout, "height": self.height}

    def element(self, *, pictures: bool = True) -> Html:
        """The place where the script draws it, with its description."""
        link = element("a", "PNG for print", href=self.picture) if self.picture and pictures else Html("")
        caption = element("figcaption", f"{self.alt} ", link)
        drawn = element(
            "div",
            id=f"plot-{self.name}",
            class_="plot",
            role="group",
            aria_label=self.alt,
            style=f"height:{self.height}px",
        )
        return element("figure", element("h3", self.title), drawn, caption, class_="whole" if self.whole else None)


def number_of(systems: Systems) -> dict[str, int]:
    """Number of each group, by its name."""
    return {group.name: number for number, group in enumerate(systems.groups)}


def group_trace(systems: Systems, group: Group, **fields: Any) -> dict[str, Any]:
    """A trace that is switched off with its group."""
    number = number_of(systems)[group.name]
    return {"name": group.label, "legendgroup": str(number), "meta": {"group": number}, **fields}


def in_plotly(text: str) -> str:
    """Text that plotly, which knows some markup, shows as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def axis(title: str, **fields: Any) -> dict[str, Any]:
    """An axis with a title."""
    return {"title": {"text": title}, **fields}


def accuracy_plot(report: Report) -> Plot:
    """Frame accuracy of groups and of their single networks on each set."""
    systems, figures = coloured(systems_of(report)), report["figures"]
    data = []
    for number, group in enumerate(systems.groups):
        found = [figures["systems"][group.name][name] for name in SETS]
        values = [100 * one["frame_accuracy"] for one in found]
        ends = [one.get("frame_accuracy_interval") or [one["frame_accuracy"]] * 2 for one in found]
        data.append(
            group_trace(
                systems, group, type="scatter", mode="markers", x=list(SETS), y=values,
                marker={"color": group.colour, "size": 12, "symbol": SYMBOLS[number % len(SYMBOLS)]},
                error_y=_whiskers(values, [[100 * end for end in pair] for pair in ends]),
                hovertemplate="%{x}: %{y:.2f} %",
            )
        )  # fmt: skip
        by_network = figures["member_frame_accuracy"].get(group.name) or {
            name: {key: one[key]["frame_accuracy"] for key in SETS}
            for name, one in figures["networks"][group.name].items()
        }
        for name, one in by_network.items():
            data.append(
                group_trace(
                    systems, group, name=name, type="scatter", mode="markers", x=list(SETS), showlegend=False,
                    y=[100 * one[key] for key in SETS], opacity=0.45,
                    marker={"color": group.colour, "size": 6, "symbol": SYMBOLS[number % len(SYMBOLS)]},
                    hovertemplate="%{x}: %{y:.2f} %",
                )
            )  # fmt: skip
    alt = "Frame accuracy of each system on each set, with 95 % intervals on dev and test; small: networks alone."
    # Not from zero: systems differ by a few points in sixty.
    drawn = [value + end for one in data for value in one["y"] for end in (0.0, *_ends(one))]
    margin = 0.08 * (max(drawn) - min(drawn)) or 1.0
    layout = {
        "xaxis": axis("set"),
        "yaxis": axis("frame accuracy, %", range=[min(drawn) - margin, max(drawn) + margin]),
        "scattermode": "group",
    }
    return Plot("accuracy", "Frame accuracy", alt, data, layout, "frame_accuracy.png")


def _ends(trace: Mapping[str, Any]) -> tuple[float, ...]:
    """How far the whiskers of a trace reach down and up from its points."""
    bars = trace.get("error_y")
    return (-max(bars["arrayminus"]), max(bars["array"])) if bars else ()


def _whiskers(values: Sequence[float], intervals: Sequence[Sequence[float]]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - value) for value, (_, high) in zip(values, intervals, strict=True)],
        "arrayminus": [max(0.0, value - low) for value, (low, _) in zip(values, intervals, strict=True)],
    }


def wer_plot(report: Report) -> Plot:
    """WER of groups on dev and test, and of their single systems."""
    systems, figures = coloured(systems_of(report)), report["figures"]
    data = []
    for number, group in enumerate(systems.groups):
        found = [figures["systems"][group.name][name] for name in ("dev", "test")]
        values = [100 * one["wer"] for one in found]
        parts = [
            "".join(f"<br>{part}: {100 * one[part] / one['reference_words']:.2f} %" for part in _PARTS) for one in found
        ]
        data.append(
            group_trace(
                systems, group, type="bar", x=["dev", "test"], y=values, text=parts, textposition="none",
                error_y=_whiskers(values, [[100 * end for end in one["wer_interval"]] for one in found]),
                marker={"color": group.colour, "pattern": {"shape": _PATTERNS[number % 8], "fillmode": "overlay"}},
                hovertemplate="%{x}: %{y:.2f} %%{text}",
            )
        )  # fmt: skip
    alt = "Word error rate of each system on dev and test, with 95 % intervals; the values hold its kinds of errors."
    layout = {"xaxis": axis("set"), "yaxis": axis("errors per 100 words", rangemode="tozero"), "barmode": "group"}
    return Plot("wer", "Word error rate", alt, data, layout, "wer.png")


_PARTS = ("substitutions", "deletions", "insertions")
_PATTERNS = ("", "/", "x", ".", "-", "|", "+", "\\")


def difference_plot(report: Report) -> Plot:
    """Paired differences on test with their intervals."""
    systems = coloured(systems_of(report))
    pairs = systems.comparisons
    data = []
    for measure, label, suffix in (("frame_accuracy", "frame accuracy", ""), ("wer", "WER", "2")):
        found = [report["figures"]["comparisons"]["test"][measure][comparison_key(*pair)] for pair in pairs]
        values = [100 * one["value"] for one in found]
        whiskers = _whiskers(values, [[100 * end for end in one["interval"]] for one in found])
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": label, "x": values, "showlegend": False,
                "y": [f"{first.label} − {second.label}" for first, second in pairs],  # noqa: RUF001
                "error_x": {**whiskers, "color": "#888888"}, "xaxis": f"x{suffix}", "yaxis": "y",
                "marker": {"color": [first.colour for first, _ in pairs], "size": 10},
                "hovertemplate": f"{label}: %{{x:+.2f}} points",
            }
        )  # fmt: skip
    layout = {
        "xaxis": axis("frame accuracy, points", domain=[0, 0.48], zeroline=True),
        "xaxis2": axis("WER, points", domain=[0.52, 1], zeroline=True),
        "yaxis": {"automargin": True, "autorange": "reversed"},
    }
    alt = "Paired differences on test with 95 % intervals: those that cross 0 may be chance. Right of 0 is better in "
    alt += "frame accuracy, left of 0 in word error rate."
    return Plot("differences", "Differences", alt, data, layout, height=140 + 40 * len(pairs), whole=True)


def training_plots(histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], systems: Systems) -> list[Plot]:
    """Losses on train and figures on dev over the epochs, one curve for each network; those of ensembles are thin.

    Args:
        histories: lines of `history.jsonl` of each network of a group.
        systems: coloured systems of the groups.
    """

    def dev(line: Mapping[str, Any]) -> float | None:
        return None if line["dev_accuracy"] is None else 100 * line["dev_accuracy"]

    drawn = (
        ("hard-loss", "Hard-label loss on train", "nats, log scale", lambda line: line["losses"].get("hard"), "log"),
        ("objective", "Objective on train", "nats, log scale", lambda line: line["train_loss"], "log"),
        ("dev-loss", "Cross-entropy on dev", "nats, log scale", lambda line: line["dev_cross_entropy"], "log"),
        ("dev-accuracy", "Frame accuracy on dev", "%", dev, "linear"),
    )
    plots = []
    for name, title, unit, of_line, scale in drawn:
        data = []
        for number, group in enumerate(systems.groups):
            several = systems.is_combined(group)
            for place, history in enumerate(histories.get(group.name, [])):
                found = [(line["epoch"], of_line(line)) for line in history]
                points = [(epoch, value) for epoch, value in found if value is not None and math.isfinite(value)]
                points = points[:: max(1, -(-len(points) // _MOST_POINTS))]
                style = {"color": group.colour, "width": 1 if several else 2, "dash": DASHES[number % len(DASHES)]}
                data.append(
                    group_trace(
                        systems, group, name=group.networks_label, type="scatter", mode="lines+markers", line=style,
                        marker={"size": 4 if several else 6, "symbol": SYMBOLS[number % len(SYMBOLS)]},
                        x=[round(epoch, 4) for epoch, _ in points], y=[round(value, 5) for _, value in points],
                        showlegend=place == 0, opacity=0.7 if several else 1,
                        hovertemplate=f"network {place + 1}, epoch %{{x:.2f}}: %{{y:.4g}}",
                    )
                )  # fmt: skip
        layout = {"xaxis": axis("epoch"), "yaxis": axis(unit, type=scale)}
        alt = f"{title} over the epochs, a curve for each network, those of the ensemble thin."
        plots.append(Plot(name, title, alt, data, layout, "training_curves.png"))
    return plots


DASHES = ("solid", "dot", "dash", "dashdot", "longdash", "longdashdot")


def classes_plot(name: str, title: str, classes: str, systems: Systems, found: ByClass) -> Plot:
    """WER of each group by class of utterances."""
    data = [
        group_trace(
            systems, group, type="scatter", mode="lines+markers", x=list(found.classes),
            y=[None if value is None else 100 * value for value in found.rates[group.name]],
            text=[f"{words} words" for words in found.words],
            line={"color": group.colour, "dash": DASHES[number % len(DASHES)]},
            marker={"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 8},
            hovertemplate="%{x}: %{y:.2f} % of %{text}",
        )
        for number, group in enumerate(systems.groups)
    ]  # fmt: skip
    layout = {"xaxis": axis(classes, type="category"), "yaxis": axis("errors per 100 words", rangemode="tozero")}
    return Plot(name, title, f"Word error rate of each system on test by {classes}.", data, layout)


def tuning_plot(report: Report) -> Plot:
    """Dev WER over acoustic scale and insertion penalty, a panel for each group."""
    systems = systems_of(report)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    notes: list[dict[str, Any]] = []
    panels = len(systems.groups)
    values = [100 * cell["dev_wer"] for group in systems.groups for cell in report["choices"][group.name]["grid"]]
    for number, group in enumerate(systems.groups):
        choice, suffix = report["choices"][group.name], "" if number == 0 else str(number + 1)
        scales, penalties = (
            sorted({cell[key] for cell in choice["grid"]}) for key in ("acoustic_scale", "insertion_penalty")
        )
        of_pair = {(cell["acoustic_scale"], cell["insertion_penalty"]): cell["dev_wer"] for cell in choice["grid"]}
        table = [[None if (s, p) not in of_pair else round(100 * of_pair[s, p], 2) for s in scales] for p in penalties]
        data.append(
            {
                "type": "heatmap", "x": [f"{s:g}" for s in scales], "y": [f"{p:g}" for p in penalties], "z": table,
                "xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "zmin": min(values), "zmax": max(values),
                "colorscale": "Viridis", "reversescale": True, "showscale": number == 0, "name": group.label,
                "hovertemplate": "scale %{x}, penalty %{y}: %{z} %<extra></extra>",
            }
        )  # fmt: skip
        left, right = number / panels, (number + 0.85) / panels
        layout[f"xaxis{suffix}"] = axis("acoustic scale", type="category", domain=[left, right])
        layout[f"yaxis{suffix}"] = {
            **axis("insertion penalty" if number == 0 else "", type="category"), "anchor": f"x{suffix}",
        }  # fmt: skip
        layout[f"xaxis{suffix}"]["anchor"] = f"y{suffix}"
        chosen = f"{group.label}: {choice['acoustic_scale']:g}, {choice['insertion_penalty']:g}"
        notes.append({"text": chosen, "x": (left + right) / 2, "y": 1.04, "xref": "paper", "yref": "paper"})
    layout["annotations"] = [{**note, "showarrow": False, "yanchor": "bottom"} for note in notes]
    alt = "Word error rate on dev over acoustic scale and insertion penalty, for each system; above, the pair chosen."
    return Plot("tuning", "Chosen on dev", alt, data, layout, "dev_grid.png", whole=True)


def confusion_plot(name: str, label: str, confusions: Confusions) -> Plot:
    """Mean posteriors of phones by aligned phone, those without frames left out."""
    shown = [number for number, frames in enumerate(confusions.frames) if frames]
    names = [in_plotly(confusions.names[number]) for number in shown]
    # The scale ends with the most frequent confusion, above which the diagonal lies.
    highest = max(0.01, *(value for _, _, value in confusions.alike(1)))
    table = [[round(float(confusions.means[row, column]), 4) for column in shown] for row in shown]
    data = [
        {
            "type": "heatmap", "x": names, "y": names, "z": table, "zmin": 0, "zmax": highest, "colorscale": "Viridis",
            "hovertemplate": "aligned %{y}: %{x} has %{z:.3f}<extra></extra>",
            "colorbar": {"title": {"text": "posterior"}},
        }
    ]  # fmt: skip
    layout = {
        "xaxis": axis("phone", type="category", tickfont={"size": 9}, dtick=1),
        "yaxis": axis("aligned phone", type="category", autorange="reversed", tickfont={"size": 9}, dtick=1),
    }
    pairs = ", ".join(f"{aligned} as {other} ({percent(value, 1)} %)" for aligned, other, value in confusions.alike(3))
    alt = f"Mean posterior of each phone in the frames of each aligned phone, {label}. Most alike: {pairs}."
    return Plot(f"confusions-{name}", f"Phones: {label}", alt, data, layout, height=560)
