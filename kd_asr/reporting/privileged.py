"""Figures and table of the experiment `privileged` on digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kd_asr.reporting.mnist_figures import repeated
from kd_asr.reporting.tables import NOT_KNOWN, Table, count, percent, percent_interval, signed_percent, to_markdown

PAPER: dict[str, Any] = {
    "citation": "D. Lopez-Paz, L. Bottou, B. Schölkopf, V. Vapnik, Unifying Distillation and Privileged Information, "
    "2016, arXiv:1511.03643",
    # Accuracy by number of training images.
    "accuracy": {
        "300": {"teacher": 0.801, "plain": 0.470, "privileged": 0.656},
        "500": {"teacher": 0.837, "plain": 0.589, "privileged": 0.743},
    },
}
# Students whose accuracies are subtracted, the second from the first.
_COMPARED = (("privileged", "plain"), ("privileged", "unprivileged"))


def privileged_figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy of each kind of network by number of images, and paired differences over the repetitions."""
    rows, test = metrics["rows"], metrics["test"]
    numbers = sorted({row["images"] for row in rows})

    def accuracies(images: int, kind: str) -> list[float]:
        own = [row for row in rows if row["images"] == images and row["kind"] == kind]
        return [1 - row["errors"] / test for row in sorted(own, key=lambda row: row["repetition"])]

    return {
        **{key: metrics[key] for key in ("test", "side", "low_side", "labels")},
        "images": numbers,
        "systems": [
            {"images": images, "kind": kind, **repeated(accuracies(images, kind))}
            for images in numbers
            for kind in metrics["labels"]
        ],
        "comparisons": [
            {
                "images": images,
                "kinds": [one, other],
                **repeated(np.subtract(accuracies(images, one), accuracies(images, other)).tolist()),
            }
            for images in numbers
            for one, other in _COMPARED
        ],
        "paper": PAPER,
    }


def privileged_table(figures: Mapping[str, Any], *, comparable: bool) -> Table:
    """Accuracy of each kind of network by number of images, beside the paper's where the digits are MNIST's."""
    rows = []
    for one in figures["systems"]:
        paper = figures["paper"]["accuracy"].get(str(one["images"]), {}).get(one["kind"]) if comparable else None
        rows.append(
            (
                f"{count(one['images'])} images: {figures['labels'][one['kind']]}",
                percent(one["mean"]),
                percent_interval(one["interval"]),
                count(len(one["values"])),
                NOT_KNOWN if paper is None else percent(paper, 1),
            )
        )
    return Table(("network", "test accuracy %", "95 % interval over repetitions", "networks", "paper"), tuple(rows))


def privileged_sentences(figures: Mapping[str, Any]) -> list[str]:
    """What the teacher's resolution brings, against hard labels and against a teacher without it."""
    labels, found = figures["labels"], []
    for one in figures["comparisons"]:
        first, second = (labels[kind] for kind in one["kinds"])
        interval = ""
        if one["interval"] is not None:
            interval = f" (95 % interval over repetitions {percent_interval(one['interval'], signed=True)})"
        found.append(
            f"- {count(one['images'])} images: the {first} differs from the {second} by {signed_percent(one['mean'])} "
            f"points{interval}."
        )
    return found


def privileged_section(figures: Mapping[str, Any], *, comparable: bool) -> list[str]:
    """The experiment's section of the page, in Markdown."""
    side, low = figures["side"], figures["low_side"]
    paper = f" The paper: {figures['paper']['citation']}." if comparable else ""
    return [
        "## Privileged information",
        f"Teachers see {side} x {side} pixels, students {low} x {low}; all have one architecture, the same few "
        "training images and as many updates. The last students have a teacher that sees what they see themselves: "
        f"they tell what the teacher's resolution brings from what any soft targets bring.{paper}",
        to_markdown(privileged_table(figures, comparable=comparable)),
        "\n".join(privileged_sentences(figures)),
    ]
