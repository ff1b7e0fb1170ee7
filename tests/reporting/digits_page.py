"""A page of a run on digits with made-up figures, made without any training."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from page_run import HOSTILE

from kd_asr.experiments.filters.compare import ANSWERS, FILTERS, LAYERS, RESPONSES
from kd_asr.experiments.filters.measures import POINTS, height_frequencies, width_frequencies
from kd_asr.jobs.systems import Group, NetworkRef, System, Systems
from kd_asr.reporting.filters_figures import filter_figures
from kd_asr.reporting.filters_plots import plot_filters
from kd_asr.reporting.mnist_figures import paper_beside, table_figures
from kd_asr.reporting.page.digits import DarkKnowledge, Mistakes, mistakes_of, write_digits_page

MOMENTS = (0, 4, 8)
SURE, DOUBTFUL = 0, 1  # pictures of the digit 0


def filters_content(label: str = HOSTILE) -> dict[str, Any]:
    """Content of `filters.json`: two seeds, teachers of three filters and students of two."""
    rng = np.random.default_rng(7)
    rows = [
        {"kind": kind, "number": number, "teacher": teacher, "updates": updates, "measure": measure,
         "value": float(rng.uniform(0.2, 0.9))}
        for kind, number, teacher, updates, measure in product(
            ("teacher", "hard", "distilled"), (0, 1), (0, 1), MOMENTS, (*LAYERS, FILTERS, RESPONSES, ANSWERS)
        )
        if (kind != "teacher" or (number != teacher and updates == MOMENTS[-1]))
        and (measure != ANSWERS or updates == MOMENTS[-1])
    ]  # fmt: skip
    pictures: dict[str, Any] = {
        kind: {"filters": rng.uniform(-1, 1, (count, 3, 4)).round(3).tolist()}
        for kind, count in (("teacher", 3), ("hard", 2), ("distilled", 2))
    }
    pictures["hard"] |= {"matched": [2, 0], "correlations": [0.5, 0.25]}
    pictures["distilled"] |= {"matched": [1, 2], "correlations": [0.9, -0.1]}
    compared = {
        "likenesses": rows,
        "layers": {kind: rng.uniform(0, 1, (4, 4)).tolist() for kind in ("hard", "distilled")},
        "accuracies": {kind: [0.9, 0.91] for kind in pictures},
        "pictures": pictures,
        "responses": {
            kind: {
                "mean": rng.uniform(0, 1, (POINTS + 1, 2 * POINTS + 1)).tolist(),
                "height": rng.uniform(0, 1, (2, POINTS + 1)).tolist(),
                "width": rng.uniform(0, 1, (2, 2 * POINTS + 1)).tolist(),
            }
            for kind in pictures
        },
    }
    return {
        **filter_figures(compared),
        "title": f"What a student inherits: {label}",
        "label": label,
        "about": f"{label} 2 teachers.",
        "parameters": {"teacher": 30, "hard": 20, "distilled": 20},
        "axes": {"height": "cycles per pixel, downwards", "width": "cycles per pixel, to the right",
                 "picture": "as on the image", "transposed": False},
        "frequencies": {"height": height_frequencies().tolist(), "width": width_frequencies().tolist()},
    }  # fmt: skip


def write_page_of_digits(folder: Path) -> Mistakes:
    """Write the page into a folder; the mistakes that it shows.

    Students on hard labels get the images 0 to 39 wrong, the first distilled one 0 to 19, the second 15 to 36, the
    second teacher 99. The teacher is sure of every even picture and doubtful of every odd one.
    """
    roles = (("t", "teacher", "teacher"), ("h", "student, hard", "reference"), ("s", "student", "student"))
    groups = tuple(Group(*one) for one in roles)  # type: ignore[arg-type]
    each = (System(f"{name}{n}", name, (NetworkRef(f"{name}/{n}"),)) for name in "ths" for n in (0, 1))
    systems = Systems(groups, tuple(each))
    wrong = np.zeros((6, 100), dtype=bool)
    wrong[2:4, :40], wrong[4, :20], wrong[5, 15:37], wrong[1, 99] = True, True, True, True
    images = np.arange(100 * 64, dtype=np.uint8).reshape(100, 8, 8)
    found = mistakes_of(systems, wrong, images, np.arange(100, dtype=np.uint8) % 10)
    table = {"groups": systems.to_json(), "test": 100, "parameters": dict.fromkeys("ths", 10)}
    errors = {"t": [0, 1], "h": [40, 40], "s": [20, 22]}
    report = {
        "title": HOSTILE, "description": HOSTILE, "preset": "mnist_tiny", "seed": 1, "comparable": False,
        "paper": paper_beside(systems), "table": {**table, **table_figures(systems, errors, wrong)},
        "filters": filters_content(),
    }  # fmt: skip
    logs = np.full((20, 10), np.log(1e-7), dtype=np.float32)
    for number in range(20):
        label = number // 2
        logs[number, label] = np.log(1 - 1e-6) if number % 2 == 0 else np.log(0.4)
        if number % 2:
            logs[number, (label + 1) % 10] = np.log(0.35)
    logs[SURE, 3] = -np.inf
    dark = DarkKnowledge(images[:20], tuple(number // 2 for number in range(20)), logs, (True, False) * 10)
    for name in ("report.md", "report.json"):
        (folder / name).touch()
    with (folder / "filters-likenesses.csv").open("w", newline="") as file:
        csv.writer(file).writerow(["kind"])
    plot_filters(report["filters"], folder)
    write_digits_page(folder, report, dark, found)
    return found
